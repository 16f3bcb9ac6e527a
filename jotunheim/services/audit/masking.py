"""What of a request or an answer is kept: no secrets, and never more than so much.

What is kept is data of whoever sent it. It is stored as JSON and never rendered as a template.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from jotunheim.data.fields import is_private_key

MASK = "**********"
"""As pydantic shows a secret."""
MAX_DOCUMENT = 5 * 1024
"""Bytes of one document as JSON; an entry has three."""
MAX_TEXT = 1000
_SECRET_NAME = re.compile(
    r"passw(or)?d|passphrase|secret|private_?key|recovery_codes?|credential|cookie|authorization|qr_svg"
    r"|(^|_)(token|ticket|code|codes|uri|url|otp|totp)$",
    re.IGNORECASE,
)
_NO_SECRETS = frozenset({"short_code"})
_TOKEN = re.compile(r"\bjt[a-z]_[0-9A-Za-z]{20,}")
_CUTS = ((1000, 50, 12), (200, 20, 8), (60, 8, 6), (30, 4, 4))
"""One after the other until a document is small enough: characters of a text, entries of a list or object, depth."""


def masked(value: Any, name: str = "") -> Any:
    """A JSON value with secrets replaced: by the names of fields, and whatever looks like a token or a private key.

    That there is none (null) is no secret, and neither is a flag.
    """
    if isinstance(value, Mapping):
        # The code of an error is none that lets somebody in.
        return {str(key): masked(item, "" if name == "error" else str(key)) for key, item in value.items()}
    if value is None or isinstance(value, bool):
        return value
    is_secret = name not in _NO_SECRETS and _SECRET_NAME.search(name) is not None
    if isinstance(value, list | tuple):
        holds_objects = any(isinstance(item, Mapping) for item in value)
        return MASK if is_secret and not holds_objects else [masked(item) for item in value]
    if is_secret:
        return MASK
    if isinstance(value, str):
        if name == "email" and "@" not in value:
            return MASK  # people type their password there
        return MASK if is_private_key(value) else _TOKEN.sub(MASK, value)
    return value


def kept(document: Mapping[str, Any] | None) -> str | None:
    """A document as it is stored: JSON without secrets, at most `MAX_DOCUMENT` bytes; None when there is nothing in it."""
    if not document:
        return None
    hidden = masked(document)
    for characters, entries, depth in _CUTS:
        text = json.dumps(_cut(hidden, characters, entries, depth), ensure_ascii=True, separators=(",", ":"))
        if len(text) <= MAX_DOCUMENT:
            return text
    return json.dumps({"left_out": "it is too large"})


def one_line(text: str | None, length: int) -> str | None:
    """A text for a column: of at most so many characters, with control characters written out."""
    if text is None:
        return None
    shown = "".join(
        character if character.isprintable() else ascii(character)[1:-1] for character in text[:length]
    )
    return shown[:length]


def _cut(value: Any, characters: int, entries: int, depth: int) -> Any:
    if isinstance(value, str):
        # Halves of surrogate pairs could not be answered as JSON.
        text = value[:characters].encode("utf-8", "backslashreplace").decode()
        return text if len(value) <= characters else f"{text}… ({len(value)} characters)"
    if isinstance(value, Mapping | list) and depth == 0:
        return "…"
    if isinstance(value, Mapping):
        few = list(value.items())[:entries]
        cut = {_cut(key, 100, 0, 0): _cut(item, characters, entries, depth - 1) for key, item in few}
        return cut if len(value) <= entries else {**cut, "…": f"{len(value) - entries} more"}
    if isinstance(value, list):
        cut_items = [_cut(item, characters, entries, depth - 1) for item in value[:entries]]
        return cut_items if len(value) <= entries else [*cut_items, f"… {len(value) - entries} more"]
    return value
