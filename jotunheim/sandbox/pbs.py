"""Proxmox Backup Server as PVE's storages of type pbs show it: its names, addresses and errors.

There is no such server: snapshots are volumes like any other. The datastore is called like the storage.
"""

import re
from collections.abc import Mapping

from jotunheim.sandbox.errors import ApiError, failure

SERVER, USER = "10.99.0.251", "root@pam"
NAME = r"backup/[^\s_/]+/(?P<id>[^\s_/]+)/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
"""A snapshot: type, id and time of the backup, in UTC."""
NOT_FOUND = "No such file or directory (os error 2)"


def parse_volname(name: str) -> tuple[str, int | None]:
    """Content type and owner of a volume of a storage of type pbs, by its name without the storage.

    Raises:
        ApiError: 500, no volume of such a storage can be called so.
    """
    found = re.fullmatch(NAME, name)
    if not found:
        raise failure(f"unable to parse PBS volume name '{name}'")
    return "backup", int(found["id"]) if found["id"].isdigit() else None


def repository(storage: str) -> str:
    """The repository of a storage."""
    return f"{USER}@{SERVER}:{storage}"


def snapshot_of(volid: str) -> str:
    """`pbs:backup/vm/100/2026-…Z` -> `vm/100/2026-…Z`."""
    return volid.partition(":backup/")[2]


def client_failed(why: str) -> ApiError:
    """The server's refusal, as PVE passes it on."""
    return failure(f"proxmox-backup-client failed: Error: {why}")


def missing(volid: str) -> ApiError:
    """What reading a snapshot that is not there says."""
    return client_failed(f"unable to load blob '\"{_folder(volid)}/index.json.blob\"' - {NOT_FOUND}")


def not_removed(volid: str) -> ApiError:
    """What removing a snapshot that is not there says."""
    return client_failed(f'removing backup snapshot "{_folder(volid)}" failed - {NOT_FOUND}')


def _folder(volid: str) -> str:
    return f"/mnt/datastore/{volid.partition(':')[0]}/{snapshot_of(volid)}"


def full(storage: str) -> ApiError:
    """What QEMU says of a backup that the server has no room for."""
    chunk = f"inserting chunk on store '{storage}' failed - writing chunk to temporary file failed"
    return failure(
        f"backup write data failed: command error: write_data upload error: {chunk}: ENOSPC: No space left on device"
    )


def bitmap_lines(disks: Mapping[str, int], *, clean: bool) -> list[str]:
    """What a backup's log says of the bitmaps in which QEMU notes what has changed since the last one."""
    status = "OK (drive clean)" if clean else "created new"
    lines = [f"INFO: {key}: dirty-bitmap status: {status}" for key in sorted(disks)]
    if clean:
        total = f"{sum(disks.values()) / 1024**3:.1f} GiB"
        lines.append(f"INFO: using fast incremental mode (dirty-bitmap), 0.0 B dirty of {total} total")
    return lines


def restore_lines(volid: str, key: str, target: str, size: int) -> list[str]:
    """What `pbs-restore` logs of one disk."""
    where, snapshot = repository(volid.partition(":")[0]), snapshot_of(volid)
    options = f"--verbose --format {target.rpartition('.')[2]} --skip-zero"
    command = f"--repository {where} {snapshot} drive-{key}.img.fidx {target} {options}"
    return [
        f"restore proxmox backup image: /usr/bin/pbs-restore {command}",
        f"connecting to repository '{where}'",
        "using up to 4 threads",
        f"open block backend for target '{target}'",
        f"starting to restore snapshot '{snapshot}'",
        "download and verify backup index",
        "fetching up to 16 chunks in parallel",
        f"progress 100% (read {size} bytes, zeroes = 0% (0 bytes), duration 0 sec)",
        f"restore image complete (bytes={size}, duration=1.00s, speed={size / 1024**2:.2f}MB/s)",
    ]
