"""Pages of lists, as all list routes take and answer them."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from jotunheim.exceptions.model import DataValidationError, FieldProblem

MAX_PER_PAGE = 200
Item = TypeVar("Item")


@dataclass(frozen=True)
class Page:
    """Which part of a list is wanted, and in which order."""

    number: int = 1
    per_page: int = 50
    sort: str | None = None
    """A field's name; a leading hyphen turns the order round."""

    def order(self, names: Collection[str]) -> tuple[str, bool]:
        """The field to sort by, the first one when none is named; and whether backwards.

        Raises:
            DataValidationError: `sort` names another field.
        """
        name = self.sort.removeprefix("-") if self.sort else next(iter(names))
        if name not in names:
            raise DataValidationError([FieldProblem("sort", f"must be one of {', '.join(names)}")])
        return name, bool(self.sort) and str(self.sort).startswith("-")


@dataclass(frozen=True)
class Paged(Generic[Item]):
    """One page and how many entries there are in all."""

    items: list[Item]
    page: Page
    total: int

    @classmethod
    def cut(
        cls, items: Sequence[Item], page: Page, sortable: Mapping[str, Callable[[Item], Any]]
    ) -> "Paged[Item]":
        """The page of a list that is there as a whole. Raises as `Page.order`."""
        name, backwards = page.order(sortable)
        ordered = sorted(items, key=sortable[name], reverse=backwards)
        begin = (page.number - 1) * page.per_page
        return cls(ordered[begin : begin + page.per_page], page, len(items))

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
