"""SHA-256 crypt(3), which PVE stores cloud-init passwords with.

The algorithm is Ulrich Drepper's public specification ("Unix crypt using SHA-256 and SHA-512"). Python's
own `crypt` module is gone in 3.13, and a guest can only be given a genuine hash.
"""

import hashlib
import re
import secrets

ALPHABET = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
ROUNDS = 5000
ORDER = (
    (0, 10, 20), (21, 1, 11), (12, 22, 2), (3, 13, 23), (24, 4, 14),
    (15, 25, 5), (6, 16, 26), (27, 7, 17), (18, 28, 8), (9, 19, 29),
)  # fmt: skip


def is_hash(text: str) -> bool:
    """Whether a cloud-init password is a hash already, as cloud-init itself decides."""
    return re.match(r"\$(1|2a|2y|5|6|y)(\$.+){2}", text) is not None


def sha256_crypt(password: str | bytes, salt: str | None = None) -> str:
    """The `$5$salt$hash` of a password; the salt is random unless given."""
    salt = salt or "".join(secrets.choice(ALPHABET) for _ in range(8))
    key = password if isinstance(password, bytes) else password.encode()
    seed = salt.encode()
    mixed = _first_sum(key, seed)
    p = _repeat(hashlib.sha256(key * len(key)).digest(), len(key))
    s = _repeat(hashlib.sha256(seed * (16 + mixed[0])).digest(), len(seed))
    for number in range(ROUNDS):
        odd = number & 1
        step = p if odd else mixed
        if number % 3:
            step += s
        if number % 7:
            step += p
        mixed = hashlib.sha256(step + (mixed if odd else p)).digest()
    return f"$5${salt}${_encode(mixed)}"


def _first_sum(key: bytes, seed: bytes) -> bytes:
    other = hashlib.sha256(key + seed + key).digest()
    text = key + seed + _repeat(other, len(key))
    bits = len(key)
    while bits:
        text += other if bits & 1 else key
        bits >>= 1
    return hashlib.sha256(text).digest()


def _repeat(block: bytes, length: int) -> bytes:
    return (block * (length // len(block) + 1))[:length]


def _encode(raw: bytes) -> str:
    text = ""
    for a, b, c in ORDER:
        text += _base64(raw[a] << 16 | raw[b] << 8 | raw[c], 4)
    return text + _base64(raw[31] << 8 | raw[30], 3)


def _base64(value: int, length: int) -> str:
    return "".join(ALPHABET[value >> 6 * n & 63] for n in range(length))
