"""Cuts what a task returned to a size and a form that can be stored.

Used twice: by the callback plugin in Ansible's process, so that a worker never reads 50 MB of output, and by the
worker, which does not trust that process. Imports nothing heavy.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

RESULT_CHARACTERS = 256 * 1024
"""The most that is kept of one task's result."""
TEXT_CHARACTERS = 32 * 1024
"""The most that is kept of one text within it; Proxmox's longest description has 8192."""
DEEPEST = 40
MARK = "… [cut"
"""How the end of a cut text begins."""
_LARGEST_NUMBER_BITS = 256
_NO_LOG = "_ansible_no_log"
# PostgreSQL stores neither in JSON.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def bounded(value: Any, characters: int = RESULT_CHARACTERS) -> Any:
    """A JSON-like copy of a value, cut with a mark where it is too large or too deep; every database can store it.

    What JSON does not know becomes text; NUL and lone surrogates become U+FFFD, and numbers that are not finite their
    names.

    Args:
        characters: about how many characters of JSON it may have.
    """
    return _bounded(value, _Budget(characters), 0)


def text(value: str, characters: int = TEXT_CHARACTERS) -> str:
    """A text that every database can store, with a mark at its end when it was longer."""
    if len(value) > characters:
        mark = f"{MARK}: {len(value)} characters]"
        value = value[: max(characters - len(mark), 0)] + mark
    return _UNSTORABLE.sub(_REPLACEMENT, value)


@dataclass
class _Budget:
    left: int

    def part(self) -> "_Budget":
        """Half of what is left, so that the first large value of a result does not crowd out the others."""
        return _Budget(max(self.left // 2, 0))


def _bounded(value: Any, budget: _Budget, depth: int) -> Any:
    if budget.left <= 0 or depth > DEEPEST:
        return f"{MARK}]"
    kept: Any
    match value:
        case None | bool():
            kept, cost = value, 5
        case int():
            kept, cost = (value if value.bit_length() <= _LARGEST_NUMBER_BITS else f"{MARK}]"), 10
        case float():
            kept, cost = (value if math.isfinite(value) else str(value)), 10
        case Mapping():
            return dict(_items(value, budget, depth))
        case list() | tuple() | set() | frozenset():
            return list(_elements(value, budget, depth))
        case bytes():
            return _bounded(value[:TEXT_CHARACTERS].decode(errors="replace"), budget, depth)
        case _:
            kept = text(str(value), min(TEXT_CHARACTERS, budget.left))
            cost = len(kept) + 2
    budget.left -= cost
    return kept


def _items(value: Mapping[Any, Any], budget: _Budget, depth: int) -> Iterator[tuple[str, Any]]:
    # Ansible's own mark first: what must not be told must stay marked, however much is cut behind it.
    for key, item in sorted(value.items(), key=lambda pair: pair[0] != _NO_LOG):
        name = text(str(key), 256)
        budget.left -= len(name) + 4
        if budget.left <= 0:
            yield f"{MARK}]", None
            return
        share = budget.part() if depth == 0 else budget
        before = share.left
        yield name, _bounded(item, share, depth + 1)
        if share is not budget:
            budget.left -= before - share.left


def _elements(value: Any, budget: _Budget, depth: int) -> Iterator[Any]:
    for item in value:
        budget.left -= 2
        yield _bounded(item, budget, depth + 1)
        if budget.left <= 0:
            return
