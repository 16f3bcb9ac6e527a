"""What tokens, sessions, tickets and recovery codes look like.

A token is `jtn_`, 43 characters of randomness and 6 characters of checksum, so that secret scanners can
tell a real one from a lookalike without asking us. Sessions (`jts_`) and login tickets (`jtl_`) are made the same way.
"""

import hmac
import secrets
import zlib
from string import ascii_letters, digits

TOKEN_PREFIX = "jtn_"  # noqa: S105 - a prefix, not a secret
SESSION_PREFIX = "jts_"
TICKET_PREFIX = "jtl_"
RANDOM_CHARACTERS = 43  # 256 bits in base 62
CHECKSUM_CHARACTERS = 6
_ALPHABET = digits + ascii_letters
_RECOVERY_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
"""Without what looks like something else."""
RECOVERY_CODES = 10
_RECOVERY_CHARACTERS = 16  # 79 bits


def new(prefix: str) -> str:
    """A new credential."""
    random = "".join(secrets.choice(_ALPHABET) for _ in range(RANDOM_CHARACTERS))
    return prefix + random + _checksum(random)


def is_well_formed(text: str, prefix: str) -> bool:
    """Whether a text is such a credential by prefix, length and checksum; asks nothing of the store."""
    body = text.removeprefix(prefix)
    random, checksum = body[:RANDOM_CHARACTERS], body[RANDOM_CHARACTERS:]
    return text.startswith(prefix) and text.isascii() and checksum == _checksum(random)


def csrf_of(session: str) -> str:
    """What a page must send along with each change that it makes with this session's cookie: other sites cannot know it."""
    return hmac.digest(session.encode(), b"jotunheim csrf", "sha256").hex()


def new_recovery_codes() -> list[str]:
    """Codes for people to keep, such as `k3vd-9x2m-…`."""
    return [recovery_code(_letters(_RECOVERY_CHARACTERS)) for _ in range(RECOVERY_CODES)]


def recovery_code(typed: str) -> str:
    """A code as it was shown, however its letters were typed and parted."""
    letters = typed.lower().replace("-", "")
    return "-".join(letters[start : start + 4] for start in range(0, len(letters), 4))


def _letters(count: int) -> str:
    return "".join(secrets.choice(_RECOVERY_ALPHABET) for _ in range(count))


def _checksum(random: str) -> str:
    number = zlib.crc32(random.encode())
    characters = []
    for _ in range(CHECKSUM_CHARACTERS):
        number, rest = divmod(number, len(_ALPHABET))
        characters.append(_ALPHABET[rest])
    return "".join(reversed(characters))
