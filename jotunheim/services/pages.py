"""Pages of lists that no query cuts: what a node was asked for."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from jotunheim.data.paging import Page, Paged
from jotunheim.exceptions.model import DataValidationError, FieldProblem

Item = TypeVar("Item")


def page_of(items: Iterable[Item], page: Page, sortable: Mapping[str, Callable[[Item], Any]]) -> Paged[Item]:
    """One page of a list.

    Args:
        sortable: what `sort` may name; the first one is the default and breaks ties.

    Raises:
        DataValidationError: `sort` names something else.
    """
    ordered = sorted(items, key=next(iter(sortable.values())))
    if page.sort:
        key = sortable.get(page.sort.removeprefix("-"))
        if key is None:
            raise DataValidationError([FieldProblem("sort", f"must be one of {', '.join(sortable)}")])
        ordered.sort(key=key, reverse=page.sort.startswith("-"))
    first = (page.number - 1) * page.per_page
    return Paged(ordered[first : first + page.per_page], page, len(ordered))
