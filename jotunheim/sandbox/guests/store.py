"""The files on the guests' disks: one file system in memory for each, in the supervisor's mount namespace.

They are bounded in size, and go with the supervisor however it ends.
"""

import subprocess
from pathlib import Path

from jotunheim.sandbox.guests import image, linux
from jotunheim.sandbox.guests.rootfs import Host, enter_copy

FOLDER = Path("/volumes")
LIMITS = "mode=0755,size=256m,nr_inodes=65536"
"""Of one disk, whatever size it has in Proxmox: the sum must not take the host's memory."""

COPY_SECONDS = 60
"""A guest can hold up whoever opens its files (a lease, 45 s for each); what is not copied by then is lost."""


def path_of(name: str) -> Path:
    """Where the supervisor has the files of a disk."""
    if not name.isalnum():
        raise ValueError(f"no disk: {name!r}")
    return FOLDER / name


def _mount(name: str) -> Path:
    path = path_of(name)
    path.mkdir()
    linux.mount("tmpfs", str(path), "tmpfs", linux.MS_NODEV, LIMITS)
    return path


def create(name: str, host: Host) -> None:
    """A disk as the template has it."""
    path = _mount(name)
    (path / "root").mkdir()
    (path / "local").mkdir()
    image.install(path / "root", path / "local", host)


def begin_copy(name: str, source: str, host: Host) -> "subprocess.Popen[bytes]":
    """Start copying a disk. Of one that a guest is using, the copy is what a power cut would leave."""
    target = _mount(name)
    copied = path_of(source)
    return subprocess.Popen(
        [
            "/usr/bin/timeout",
            "-s",
            "KILL",
            str(COPY_SECONDS),
            "/usr/bin/cp",
            "-a",
            "--",
            "/source/.",
            "/target",
        ],
        preexec_fn=lambda: enter_copy(copied, target, host),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={},
    )


def remove(name: str) -> None:
    """Forget a disk."""
    path = path_of(name)
    linux.unmount(str(path))
    path.rmdir()
