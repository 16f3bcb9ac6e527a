"""What the first bytes of a disk image say: the size of the disk in it."""

import struct

from jotunheim.sandbox.errors import ApiError, failure

HEAD_BYTES = 512
"""How much of an image has to be read for this."""
SECTOR_BYTES = 512


def virtual_size(format_: str, head: bytes, size: int, path: str) -> int | None:
    """The size in bytes of the disk in an image, as `qemu-img info` tells it; None for an OVA, which is an archive.

    Args:
        head: the first bytes, `HEAD_BYTES` or all that there are.
        size: bytes of the whole file.
        path: for the message.

    Raises:
        ApiError: the file is no such image, or one that PVE does not trust: it refers to another file.
    """
    match format_:
        case "qcow2":
            return _qcow2(head, path)
        case "vmdk":
            return _vmdk(head, path)
        case "raw":
            return -(-size // SECTOR_BYTES) * SECTOR_BYTES
    return None


def _qcow2(head: bytes, path: str) -> int:
    if len(head) < 72 or head[:4] != b"QFI\xfb" or struct.unpack_from(">I", head, 4)[0] not in (2, 3):
        raise _not_in_format("qcow2", path)
    backing: int
    disk: int
    (backing,) = struct.unpack_from(">Q", head, 8)
    (disk,) = struct.unpack_from(">Q", head, 24)
    if backing:
        raise failure(f"backing file not allowed for untrusted image '{path}'!")
    return disk


def _vmdk(head: bytes, path: str) -> int:
    if len(head) < 20 or head[:4] != b"KDMV":
        raise _not_in_format("vmdk", path)
    sectors: int
    (sectors,) = struct.unpack_from("<Q", head, 12)
    return sectors * SECTOR_BYTES


def _not_in_format(format_: str, path: str) -> ApiError:
    return failure(
        f"failed to query file information with qemu-img: qemu-img: Could not open '{path}': "
        f"Image is not in {format_} format"
    )
