"""The accounts of a guest: its passwd, shadow and group files."""

import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from jotunheim.sandbox.guests import files

ETC = Path("/etc")
SKELETON = ETC / "skel"
NAME = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
"""What `useradd` takes on Debian."""
FIRST_ID, LAST_ID = 1000, 59_999
GROUPS = ("adm", "dialout", "cdrom", "floppy", "sudo", "audio", "dip", "video", "plugdev")
"""Those of the default user of a Debian cloud image."""


class NoAccountError(Exception):
    """There is no such account, or there cannot be."""


@dataclass(frozen=True)
class Account:
    """A line of /etc/passwd."""

    name: str
    uid: int
    gid: int
    home: Path


def find(name: str) -> Account:
    """The account of a name.

    Raises:
        NoAccountError: there is none.
    """
    for line in _lines("passwd"):
        fields = line.split(":")
        if fields[0] == name and len(fields) >= 6 and fields[2].isdigit() and fields[3].isdigit():
            return Account(name, int(fields[2]), int(fields[3]), Path(fields[5] or "/"))
    raise NoAccountError(f"user '{name}' does not exist")


def ensure(name: str) -> Account:
    """The account of a name; made as cloud-init makes the default user if it is not there.

    Raises:
        NoAccountError: the name is none that Debian takes.
    """
    try:
        return find(name)
    except NoAccountError:
        if not NAME.fullmatch(name):
            raise NoAccountError(f"invalid user name '{name}'") from None
    uid, home = _free_id(), Path("/home", name)
    _append("passwd", f"{name}:x:{uid}:{uid}:Debian:{home}:/bin/bash")
    _append("shadow", f"{name}:*:{int(time.time() // 86400)}:0:99999:7:::")
    _rewrite("group", [_joined(line, name) for line in _lines("group")] + [f"{name}:x:{uid}:"])
    if not home.exists() and not SKELETON.is_symlink():
        shutil.copytree(SKELETON, home, symlinks=True)
        home.chmod(0o755)
        for path in (home, *home.iterdir()):
            os.chown(path, uid, uid, follow_symlinks=False)
    return Account(name, uid, uid, home)


def _joined(line: str, name: str) -> str:
    group, _, _ = line.partition(":")
    return f"{line}{'' if line.endswith(':') else ','}{name}" if group in GROUPS else line


def _free_id() -> int:
    taken = {
        fields[2]
        for file in ("passwd", "group")
        for line in _lines(file)
        if len(fields := line.split(":")) > 2
    }
    for number in range(FIRST_ID, LAST_ID):
        if str(number) not in taken:
            return number
    raise NoAccountError("no user id is free")


def set_hash(name: str, password_hash: str) -> None:
    """Set an account's password, given as crypt(3) hashes it.

    Raises:
        NoAccountError: there is no such account, or it would break the file.
    """
    find(name)
    if re.search(r"[:\n\0]", password_hash):
        raise NoAccountError("no password hash")
    lines, days = [], int(time.time() // 86400)
    for line in _lines("shadow"):
        fields = line.split(":")
        if fields[0] == name and len(fields) >= 3:
            fields[1:3] = [password_hash, str(days)]
        lines.append(":".join(fields))
    _rewrite("shadow", lines)


def add_keys(account: Account, keys: list[str]) -> None:
    """Let ssh keys in; those that were there before stay."""
    folder = account.home / ".ssh"
    with _acting_as(account):
        folder.mkdir(mode=0o700, exist_ok=True)
        file = folder / "authorized_keys"
        known = _split(files.text(file)) if file.exists() else []
        lines = [*known, *(key for key in keys if key not in known)]
        files.put(file, "".join(f"{line}\n" for line in lines), mode=0o600)
        file.chmod(0o600)


@contextmanager
def _acting_as(account: Account) -> Iterator[None]:
    """With the account's rights: its owner may have put links in its folders, to files that are not theirs."""
    os.setegid(account.gid)
    os.seteuid(account.uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def _lines(name: str) -> list[str]:
    return _split(files.text(ETC / name))


def _split(text: str) -> list[str]:
    """The lines as the C library sees them; Python knows more characters that end one."""
    return text.removesuffix("\n").split("\n") if text else []


def _append(name: str, line: str) -> None:
    _rewrite(name, [*_lines(name), line])


def _rewrite(name: str, lines: list[str]) -> None:
    """Put new content in place at once; whoever reads the file meanwhile sees the old or the new."""
    file, new = ETC / name, ETC / f"{name}.new"
    new.unlink(missing_ok=True)
    mode = file.stat().st_mode & 0o777
    files.put(new, "".join(f"{line}\n" for line in lines), os.O_EXCL, mode)
    new.replace(file)
