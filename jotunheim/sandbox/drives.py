"""Drives of a VM: their notation, which volumes they use, and the allocation of new ones."""

import re
from collections.abc import Callable, Mapping

from jotunheim.sandbox import pve84
from jotunheim.sandbox.errors import ApiError, bad_parameters, failure, forbidden
from jotunheim.sandbox.state import Vm, Volume
from jotunheim.sandbox.volumes import Volumes, parse_volname

UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}
TOO_LARGE = 2**63
"""Bytes from which qemu-img makes no image."""
CLOUDINIT_BYTES = 4 * 1024**2
FIXED_SIZES = {"efidisk0": 528 * 1024, "tpmstate0": 4 * 1024**2}
"""Disks whose size is not the caller's to choose."""
NEW_DISK = re.compile(r"([^:\s]+):(\d+(?:\.\d+)?)")
QCOW2 = "fmt=qcow2 cluster_size=65536 extended_l2=off"
TAIL = "lazy_refcounts=off refcount_bits=16"


def parse_drive(text: str) -> dict[str, str]:
    """`vmstore:100/x.qcow2,size=2G` -> {"file": "vmstore:100/x.qcow2", "size": "2G"}."""
    drive: dict[str, str] = {}
    for part in text.split(","):
        key, equals, value = part.partition("=")
        if equals:
            drive["file" if key == "volume" else key] = value
        else:
            drive["file"] = key
    return drive


def print_drive(drive: Mapping[str, str]) -> str:
    """The notation of a drive: the volume first, then its options by name."""
    options = [f"{key}={drive[key]}" for key in sorted(drive) if key != "file"]
    return ",".join([drive["file"], *options])


def parse_size(text: str) -> int:
    """`2G` -> bytes."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT]?)", text)
    if not found:
        raise ValueError(f"no size: {text}")
    return int(min(float(found[1]) * UNITS[found[2]], TOO_LARGE))


def format_size(size: int) -> str:
    """Bytes in the largest unit that leaves a whole number."""
    unit = ""
    for bigger in ("K", "M", "G", "T"):
        if size % UNITS[bigger] or not size:
            break
        unit = bigger
    return f"{size // UNITS[unit]}{unit}"


def is_drive(name: str) -> bool:
    """Whether a configuration key holds a drive."""
    return name in pve84.DISK_KEYS


def is_cdrom(drive: Mapping[str, str]) -> bool:
    """Whether a drive is a CD-ROM; a cloud-init drive is one too."""
    return drive.get("media") == "cdrom"


def is_cloudinit(drive: Mapping[str, str]) -> bool:
    """Whether a drive is, or asks for, a cloud-init drive."""
    return bool(re.search(r"(^|[:/-])cloudinit(\.\w+)?$", drive.get("file", "")))


def disks_of(config: Mapping[str, str]) -> list[str]:
    """The keys of the disks (no CD-ROMs) of a configuration, in PVE's order."""
    return [name for name in pve84.DISK_KEYS if name in config and not is_cdrom(parse_drive(config[name]))]


def drives_of(config: Mapping[str, str]) -> list[str]:
    """The keys of all drives of a configuration, in PVE's order."""
    return [name for name in pve84.DISK_KEYS if name in config]


def is_base(volid: str) -> bool:
    """Whether a volume is the base image of a template, itself perhaps a linked clone."""
    return re.split("[:/]", volid)[-1].startswith("base-")


def has_feature(feature: str, volid: str, *, snapshot: bool = False) -> bool:
    """Whether a volume on a storage of files, or a snapshot of it, can be cloned (linked), copied or snapshotted.

    As PVE's `volume_has_feature` of directory storages has it.
    """
    qcow2 = volid.endswith(".qcow2")
    match feature:
        case "clone":
            return is_base(volid) and not snapshot
        case "copy":
            return qcow2 or not snapshot
        case _:
            return qcow2 and (snapshot or not is_base(volid))


def cloudinit_drive(config: Mapping[str, str]) -> str | None:
    """The key of the cloud-init drive."""
    return next((name for name in drives_of(config) if is_cloudinit(parse_drive(config[name]))), None)


def default_boot(config: Mapping[str, str]) -> str:
    """The boot order that PVE chooses: the first disk, the first CD-ROM, the first network device."""
    drives = drives_of(config)
    disks = [name for name in disks_of(config) if name not in ("efidisk0", "tpmstate0")]
    cdroms = [name for name in drives if is_cdrom(parse_drive(config[name]))]
    nets = [f"net{n}" for n in range(pve84.MAX_INDEX["net"]) if f"net{n}" in config]
    return print_boot([*disks[:1], *cdroms[:1], *nets[:1]])


def boot_devices(text: str) -> list[str]:
    """The devices of a boot option; none for the old notation."""
    order = parse_drive(text).get("order", "")
    return [name for name in order.split(";") if name]


def print_boot(devices: list[str]) -> str:
    """The notation of a boot order. PVE writes a blank for an empty one, to keep the key."""
    return f"order={';'.join(devices)}" if devices else " "


def formatting(path: str, size: int, *, format: str = "qcow2", backing: str = "") -> str:  # noqa: A002
    """The line that qemu-img logs when it makes an image."""
    if format != "qcow2":
        return f"Formatting '{path}', fmt={format} size={size} preallocation=off"
    if backing:
        based = f"backing_file={backing} backing_fmt=qcow2"
        return f"Formatting '{path}', {QCOW2} compression_type=zlib size={size} {based} {TAIL}"
    return f"Formatting '{path}', {QCOW2} preallocation=metadata compression_type=zlib size={size} {TAIL}"


def check_drive(volumes: Volumes, node: str, key: str, text: str, default_storage: str | None = None) -> None:
    """Refuse a drive whose storage or volume does not exist, before anything is changed."""
    drive = parse_drive(text)
    file = drive.get("file", "")
    if file in ("none", "cdrom", "") or file.startswith("/"):
        return
    storage, _, name = file.partition(":")
    if NEW_DISK.fullmatch(file) or name == "cloudinit":
        volumes.image_storage(default_storage or storage)
        _check_source(volumes, node, key, drive)
        return
    volumes.storage(storage)
    volumes.parse(file)
    if volumes.find(node, file) is None:
        raise failure(f"volume '{file}' does not exist")
    if key in ("efidisk0", "tpmstate0") and is_cdrom(drive):
        raise bad_parameters({key: "invalid format - a CD-ROM"})


def _check_source(volumes: Volumes, node: str, key: str, drive: Mapping[str, str]) -> None:
    source, new = drive.get("import-from"), NEW_DISK.fullmatch(drive["file"])
    if source is None:
        return
    if new is None or float(new[2]):
        why = "'import-from' requires special syntax - use <storage ID>:0,import-from=<source>"
        raise bad_parameters({key: why})
    if not source.startswith("/") and volumes.find(node, source) is None:
        raise failure(f"volume '{source}' does not exist")


def allocate(
    volumes: Volumes, vm: Vm, key: str, text: str, say: Callable[[str], None] | None = None
) -> tuple[str, Volume | None]:
    """Turn a drive as it was asked for into one that exists.

    Returns:
        The drive to store, and the volume if one was made.
    """
    drive = parse_drive(text)
    file = drive.get("file", "")
    storage, _, name = file.partition(":")
    if name == "cloudinit":
        return _new_cloudinit(volumes, vm, drive, storage)
    if NEW_DISK.fullmatch(file):
        return _new_disk(volumes, vm, key, drive, storage, float(name), say)
    volume = volumes.find(vm.node, file)
    if volume is not None:
        drive["size"] = format_size(volume.size)
    return print_drive(drive), None


def _new_cloudinit(volumes: Volumes, vm: Vm, drive: dict[str, str], storage: str) -> tuple[str, Volume]:
    format_ = drive.pop("format", "qcow2")
    volid = f"{storage}:{vm.vmid}/vm-{vm.vmid}-cloudinit.{format_}"
    old = volumes.find(vm.node, volid)
    volume = old or volumes.create(
        vm.node, volid, vmid=vm.vmid, size=CLOUDINIT_BYTES, used=397_312, format=format_
    )
    drive |= {"file": volid, "media": "cdrom"}
    drive.pop("size", None)
    return print_drive(drive), volume


def ensure_cloudinit(volumes: Volumes, vm: Vm, key: str) -> None:
    """Make the volume of a cloud-init drive that a configuration names, if it is gone."""
    volid = parse_drive(vm.config[key])["file"]
    if volumes.find(vm.node, volid) is None:
        ending = volid.rpartition(".")[2]
        volumes.create(vm.node, volid, vmid=vm.vmid, size=CLOUDINIT_BYTES, used=397_312, format=ending)


def _new_disk(
    volumes: Volumes,
    vm: Vm,
    key: str,
    drive: dict[str, str],
    storage: str,
    gib: float,
    say: Callable[[str], None] | None,
) -> tuple[str, Volume]:
    source_id = drive.pop("import-from", None)
    source = volumes.find(vm.node, source_id) if source_id else None
    size = FIXED_SIZES.get(key, int(min(gib * UNITS["G"], TOO_LARGE)))
    if size >= TOO_LARGE:
        raise failure("unable to create image: qemu-img: Image size must be less than 8 EiB!")
    if source:
        size = source.virtual_size or source.size
    format_ = drive.pop("format", "qcow2")
    used = volumes.content(source) if source else 393_216
    if not volumes.fits(volumes.storage(storage), vm.node, used):
        raise no_space(volumes, storage, vm)
    volid = new_volid(volumes, vm.node, storage, vm.vmid, format_)
    volume = volumes.create(vm.node, volid, vmid=vm.vmid, size=size, used=used, format=format_)
    volume.files = volumes.files(source) if source else None
    drive |= {"file": volid, "size": format_size(size)}
    if say:
        say(formatting(volumes.path(volid), size, format=format_))
        say(f"{key}: successfully created disk '{print_drive(drive)}'")
    return print_drive(drive), volume


def new_volid(volumes: Volumes, node: str, storage: str, vmid: int, format_: str = "qcow2") -> str:
    """The id of a VM's next disk."""
    return f"{storage}:{vmid}/" + volumes.free_name(node, storage, vmid, f"vm-{vmid}-disk", f".{format_}")


def no_space(volumes: Volumes, storage: str, vm: Vm) -> ApiError:
    """What qemu-img says on a full storage."""
    path = volumes.path(new_volid(volumes, vm.node, storage, vm.vmid))
    return failure(f"unable to create image: qemu-img: {path}: No space left on device")


def require_option_privilege(check: Callable[..., None], vm_path: str, text: str) -> None:
    """Drives need another privilege as a disk than as a CD-ROM, and new disks need the storage's."""
    drive = parse_drive(text)
    if drive.get("file", "").startswith("/"):
        raise forbidden("only root can use arbitrary files")
    check(vm_path, "VM.Config.CDROM" if is_cdrom(drive) else "VM.Config.Disk")
    if NEW_DISK.fullmatch(drive.get("file", "")) or is_cloudinit(drive):
        check(f"/storage/{drive['file'].partition(':')[0]}", "Datastore.AllocateSpace")
    source = drive.get("import-from", "")
    if source and not source.startswith("/"):
        content, owner = parse_volname(source.partition(":")[2])
        if content not in ("images", "import"):
            why = f"{source} has wrong type '{content}' - needs to be 'images' or 'import'"
            raise bad_parameters({"import-from": why})
        if owner:
            check(f"/vms/{owner}", "VM.Clone")
        else:
            storage = f"/storage/{source.partition(':')[0]}"
            check(storage, "Datastore.AllocateSpace", "Datastore.Audit", any_of=True)
