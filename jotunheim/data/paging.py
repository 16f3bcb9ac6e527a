"""Pages of lists, as all list routes take and answer them."""

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

MAX_PER_PAGE = 200
Item = TypeVar("Item")


@dataclass(frozen=True)
class Page:
    """Which part of a list is wanted, and in which order."""

    number: int = 1
    per_page: int = 50
    sort: str | None = None
    """A field's name; a leading hyphen turns the order round."""


@dataclass(frozen=True)
class Paged(Generic[Item]):
    """One page and how many entries there are in all."""

    items: list[Item]
    page: Page
    total: int

    def meta(self) -> dict[str, Any]:
        """The `meta` part of a list's answer."""
        last = max(1, -(-self.total // self.page.per_page))
        number = self.page.number
        return {
            "pagination": {
                "page": number,
                "per_page": self.page.per_page,
                "previous_page": min(number - 1, last) if number > 1 else None,
                "next_page": number + 1 if number < last else None,
                "last_page": last,
                "total_entries": self.total,
            }
        }
