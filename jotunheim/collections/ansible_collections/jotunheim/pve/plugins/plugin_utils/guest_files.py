"""Files of a guest, through its agent: whole and proven, or not at all."""

from __future__ import annotations

import posixpath
import re
import zlib
from base64 import b64decode
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from shlex import quote
from typing import BinaryIO

from ansible_collections.jotunheim.pve.plugins.plugin_utils.guest_calls import printable
from ansible_collections.jotunheim.pve.plugins.plugin_utils.guest_commands import (
    GuestCommands,
    Result,
    new_key,
)

from jotunheim.exceptions.repository import GuestRefusedError, ProxmoxRequestError

_TOLD = re.compile(rb"\s*(\d{1,18})\s+([0-9a-f]{64})  -\n")
_PIECE = 1024**2
_WHOLE = 4 * 1024**2
"""Files up to this size are read in one request; Proxmox VE would read 16 MiB."""


def put(guest: GuestCommands, source: BinaryIO, path: str) -> None:
    """Write a file of the guest, mode 0600. Until all of it is there and proven, what was at the path stays."""
    key = new_key()
    part = posixpath.join(posixpath.dirname(path), f".jotunheim-{key}")
    there = f"[ ! -d {quote(path)} ] || {{ echo 'it is a directory' >&2; exit 1; }}"
    try:
        moved = guest.feed(key, source, part, f"{there}; mv -f -- {quote(part)} {quote(path)}")
        _checked(moved, f"{path} could not be written")
    except GuestRefusedError:
        with suppress(ProxmoxRequestError):
            guest.run(f"rm -f -- {quote(part)}")
        raise


def fetch(guest: GuestCommands, path: str, target: BinaryIO) -> None:
    """Read a file of the guest."""
    failed = f"{path} could not be read"
    told = _TOLD.fullmatch(_checked(guest.run(f"wc -c <{quote(path)} && sha256sum <{quote(path)}"), failed))
    seen = sha256()
    for data in _contents(guest, path, int(told[1])) if told else ():
        seen.update(data)
        target.write(data)
    if told is None or seen.hexdigest() != told[2].decode():
        raise GuestRefusedError(f"{failed}: it changed meanwhile.", hint="Try again.")


def _contents(guest: GuestCommands, path: str, size: int) -> Iterator[bytes]:
    if size <= _WHOLE and path.startswith("/") and path.isascii():
        yield guest.calls.read(path)
        return
    for start in range(0, size, _PIECE):
        script = (
            f"dd if={quote(path)} bs={_PIECE} skip={start // _PIECE} count=1 2>/dev/null | gzip -c | base64"
        )
        piece = _unpacked(_checked(guest.run(script), f"{path} could not be read"))
        yield piece
        if len(piece) != min(_PIECE, size - start):
            return  # it is shorter now; the caller sees it


def _unpacked(text: bytes) -> bytes:
    """A piece, and no more than one whatever the guest sends; what cannot be read is nothing."""
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(b64decode(text), _PIECE)
    except (ValueError, zlib.error):
        return b""


def _checked(result: Result, failed: str) -> bytes:
    """The output of a command of ours."""
    if result.code != 0:
        raise GuestRefusedError(f"{failed}: {printable(result.err.decode(errors='replace'))}")
    return result.out
