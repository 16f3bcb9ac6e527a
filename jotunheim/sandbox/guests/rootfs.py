"""What supervisor and guests see of a file system: the host's programs read-only, the rest their own.

`Host.look` runs while the host is still in sight, `enter` hides it from the supervisor, `enter_guest` hides
the supervisor's world from a guest.
"""

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from jotunheim.sandbox.guests import linux

STAGE = "/tmp"  # noqa: S108 - only a mount point, in our own mount namespace: every system has it
SYSTEM_FOLDERS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
"""Folders that are links into /usr on most systems, and of their own on others."""
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
COPIED = ("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/services", "/etc/protocols")
"""Files of the host that its programs expect and that tell nothing about it."""
LOCKED_FLAGS = {1: linux.MS_RDONLY, 2: linux.MS_NOSUID, 4: linux.MS_NODEV, 8: linux.MS_NOEXEC}
ATIME_FLAGS = {1024: linux.MS_NOATIME, 2048: 2048, 4096: linux.MS_RELATIME}
FEW_INODES = "nr_inodes=16384"
"""The size of a file system in memory counts no empty files, which take memory all the same."""
PLAIN = linux.MS_NOSUID | linux.MS_NODEV


@dataclass
class Host:
    """What of the host goes into every guest."""

    links: dict[str, str] = field(default_factory=dict)
    """Links at the root, by name: `bin` -> `usr/bin`."""
    folders: list[str] = field(default_factory=list)
    """Folders at the root that are no links."""
    files: dict[str, bytes] = field(default_factory=dict)
    alternatives: dict[str, str] = field(default_factory=dict)
    """Debian's choice among programs of the same name: links of /etc/alternatives."""

    @classmethod
    def look(cls) -> "Host":
        """Gather it."""
        host = cls()
        for name in SYSTEM_FOLDERS:
            path = Path("/", name)
            if path.is_symlink():
                host.links[name] = str(path.readlink())
            elif path.is_dir():
                host.folders.append(name)
        for file in [*map(Path, COPIED), *sorted(Path("/etc/ld.so.conf.d").glob("*.conf"))]:
            if file.is_file() and os.access(file, os.R_OK):
                host.files[str(file)] = file.read_bytes()
        choices = Path("/etc/alternatives")
        if choices.is_dir():
            host.alternatives = {
                link.name: str(link.readlink()) for link in choices.iterdir() if link.is_symlink()
            }
        return host


def enter(host: Host) -> None:
    """Leave the host's file system for one in memory with its programs; in a new mount namespace."""
    linux.mount("none", "/", flags=linux.MS_REC | linux.MS_PRIVATE)
    linux.mount("tmpfs", STAGE, "tmpfs", PLAIN, "mode=0755,size=1m")
    os.umask(0o022)
    for name in ("usr", "dev", "proc", "volumes", *host.folders):
        Path(STAGE, name).mkdir()
    for name, target in host.links.items():
        Path(STAGE, name).symlink_to(target)
    for name in ("usr", *host.folders):
        _bind_read_only(f"/{name}", f"{STAGE}/{name}")
    if Path(STAGE, "usr/local").is_dir():
        # What is mounted out here is locked in there: no guest can take this cover away.
        linux.mount("tmpfs", f"{STAGE}/usr/local", "tmpfs", PLAIN | linux.MS_RDONLY, "mode=0755,size=4k")
    for name in DEVICES:
        if Path("/dev", name).is_char_device():
            Path(STAGE, "dev", name).touch()
            linux.mount(f"/dev/{name}", f"{STAGE}/dev/{name}", flags=linux.MS_BIND)
    try:
        linux.mount("proc", f"{STAGE}/proc", "proc", PLAIN | linux.MS_NOEXEC)
    except PermissionError as error:
        hint = "a container that hides parts of /proc allows none inside; run it with all of /proc visible"
        raise OSError(error.errno, f"{error.strerror} ({hint})") from error
    _pivot(STAGE)


def _bind_read_only(source: str, target: str) -> None:
    """Show a folder with all that is mounted in it, read-only."""
    linux.mount(source, target, flags=linux.MS_BIND | linux.MS_REC)
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        point = line.split()[4].encode().decode("unicode_escape")
        if point == target or point.startswith(f"{target}/"):
            flags = linux.MS_BIND | linux.MS_REMOUNT | linux.MS_RDONLY | PLAIN | _kept_flags(point)
            linux.mount("none", point, flags=flags)


def _kept_flags(point: str) -> int:
    """The flags of a mount that a namespace with fewer rights must not take away."""
    current = os.statvfs(point).f_flag
    known = LOCKED_FLAGS | ATIME_FLAGS
    return sum(flag for bit, flag in known.items() if current & bit)


def _pivot(root: str) -> None:
    os.chdir(root)
    linux.pivot_root(".", ".")
    linux.unmount(".")
    os.chdir("/")


def enter_guest(volume: Path, host: Host) -> None:
    """Leave the supervisor's file system for that of a guest's disk; in the guest's namespaces.

    Whoever was root in the guest before may have left anything in the place of a mount point: what is no
    folder goes. Nothing else of the disk is touched before it is the root.
    """
    linux.mount("none", "/", flags=linux.MS_REC | linux.MS_PRIVATE)
    root = volume / "root"
    linux.mount(str(root), str(root), flags=linux.MS_BIND)
    for name in ("usr", "dev", "proc", "run", "tmp", *host.folders):
        _fresh_folder(root / name)
    for name in ("usr", *host.folders):
        linux.mount(f"/{name}", str(root / name), flags=linux.MS_BIND | linux.MS_REC)
    if (root / "usr/local").is_dir():
        linux.mount(str(volume / "local"), str(root / "usr/local"), flags=linux.MS_BIND)
    linux.mount("proc", str(root / "proc"), "proc", PLAIN | linux.MS_NOEXEC)
    linux.mount("tmpfs", str(root / "run"), "tmpfs", PLAIN, f"mode=0755,size=16m,{FEW_INODES}")
    linux.mount("tmpfs", str(root / "tmp"), "tmpfs", PLAIN, f"mode=1777,size=64m,{FEW_INODES}")
    _devices(root / "dev")
    _pivot(str(root))


def enter_copy(source: Path, target: Path, host: Host) -> None:
    """Leave the supervisor's file system for one with the host's programs, /source and /target.

    For a program that walks through a disk while a guest may put a link in the place of any folder: wherever that
    link leads, there is nothing else to be found.
    """
    linux.unshare(linux.NEWNS)
    linux.mount("none", "/", flags=linux.MS_REC | linux.MS_PRIVATE)
    stage = Path("/dev")
    linux.mount("tmpfs", str(stage), "tmpfs", PLAIN, "mode=0755,size=64k")
    for name in ("usr", *host.folders):
        (stage / name).mkdir()
        linux.mount(f"/{name}", str(stage / name), flags=linux.MS_BIND | linux.MS_REC)
    for name, link in host.links.items():
        (stage / name).symlink_to(link)
    for name, volume in (("source", source), ("target", target)):
        (stage / name).mkdir()
        linux.mount(str(volume), str(stage / name), flags=linux.MS_BIND)
    _pivot(str(stage))


def _fresh_folder(path: Path) -> None:
    try:
        if not stat.S_ISDIR(path.lstat().st_mode):
            path.unlink()
    except FileNotFoundError:
        pass
    path.mkdir(exist_ok=True)


def _devices(folder: Path) -> None:
    linux.mount("tmpfs", str(folder), "tmpfs", linux.MS_NOSUID, f"mode=0755,size=16m,{FEW_INODES}")
    for device in Path("/dev").iterdir():
        (folder / device.name).touch()
        linux.mount(str(device), str(folder / device.name), flags=linux.MS_BIND)
    (folder / "pts").mkdir()
    linux.mount(
        "devpts", str(folder / "pts"), "devpts", linux.MS_NOSUID | linux.MS_NOEXEC,
        "newinstance,ptmxmode=0666,mode=0620,gid=5",
    )  # fmt: skip
    (folder / "ptmx").symlink_to("pts/ptmx")
    (folder / "shm").mkdir()
    (folder / "shm").chmod(0o1777)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        (folder / name).symlink_to(f"/proc/self/fd/{number}")
    (folder / "fd").symlink_to("/proc/self/fd")
