"""Passwords of guests: comparing one with the hash that Proxmox VE keeps, and sending one that arrives whole."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from passlib.hash import md5_crypt, sha256_crypt, sha512_crypt

_SCHEMES = (sha256_crypt, sha512_crypt, md5_crypt)
_STORED = re.compile(r"^password: *['\"]?(\$[^\s'\"]+)", re.MULTILINE)
_LIKE_A_HASH = re.compile(r"\$(?:[156y]|2[aby])(\$.+){2}")

# PVE's smallest length for the guest agent's call.
_SHORTEST = 5

# What crypt(3) itself takes by default; the library's own default costs the guest half a second a login.
_ROUNDS = 5000


@dataclass(frozen=True)
class Sent:
    """A password in the form in which Proxmox VE is told it."""

    text: str = field(repr=False)
    hashed: bool


def stored_hash(user_data: str) -> str | None:
    """The hash in cloud-init's user data as PVE generates it; None: there is none."""
    found = _STORED.search(user_data)
    return found[1] if found else None


def matches(password: str, stored: str | None) -> bool:
    """Whether a crypt(3) hash is this password's. False also for schemes that are not known here (yescrypt)."""
    for scheme in _SCHEMES:
        if stored is not None and scheme.identify(stored):
            try:
                return bool(scheme.verify(password, stored))
            except ValueError:
                return False  # cut off, or otherwise no hash
    return False


def sent(password: str) -> Sent:
    """The password itself where that works, else its hash.

    Proxmox VE hands characters beyond ASCII to the agent byte by byte, takes what looks like a hash for one,
    and refuses short passwords in the agent's call.
    """
    if password.isascii() and len(password) >= _SHORTEST and not _LIKE_A_HASH.match(password):
        return Sent(password, hashed=False)
    return Sent(str(sha512_crypt.using(rounds=_ROUNDS).hash(password)), hashed=True)
