"""Cuts a query into the page that a caller asked for."""

from collections.abc import Mapping, Sequence
from typing import Any

from jotunheim.data.paging import Page
from jotunheim.exceptions.model import DataValidationError, FieldProblem


def paginate(query: Any, page: Page, sortable: Sequence[Any] | Mapping[str, Any]) -> tuple[list[Any], int]:
    """Rows of one page and the number of all rows: two queries.

    Args:
        query: a select.
        page: the wanted part.
        sortable: the columns that `sort` may name, under their own names unless there are others; the first one
            is the default and breaks ties.

    Raises:
        DataValidationError: `sort` names something else.
    """
    columns = sortable if isinstance(sortable, Mapping) else {column.name: column for column in sortable}
    first = next(iter(columns.values()))
    order = [first]
    if page.sort:
        column = columns.get(page.sort.removeprefix("-"))
        if column is None:
            raise DataValidationError([FieldProblem("sort", f"must be one of {', '.join(columns)}")])
        order = [column.desc() if page.sort.startswith("-") else column, first]
    return list(query.order_by(*order).paginate(page.number, page.per_page)), query.count()
