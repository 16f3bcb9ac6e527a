"""Cuts a query into the page that a caller asked for."""

from collections.abc import Mapping
from typing import Any

from jotunheim.data.paging import Page


def narrowed(query: Any, columns: Mapping[str, Any], wanted: Mapping[str, Any]) -> Any:
    """A select of those rows that are as wanted.

    Args:
        columns: what filters are about: a column that must have the value, or what makes a condition of the value.
        wanted: values by the filters' names.
    """
    for name, value in wanted.items():
        column = columns[name]
        query = query.where(column(value) if callable(column) else column == value)
    return query


def paginate(query: Any, page: Page, sortable: Mapping[str, Any]) -> tuple[list[Any], int]:
    """Rows of one page and the number of all rows: two queries.

    Args:
        query: a select.
        page: the wanted part.
        sortable: the columns by the names that `sort` may have; the first one is the default and breaks ties.

    Raises:
        DataValidationError: `sort` names something else.
    """
    name, backwards = page.order(sortable)
    column, first = sortable[name], next(iter(sortable.values()))
    order = [column.desc() if backwards else column, *([] if column is first else [first])]
    return list(query.order_by(*order).paginate(page.number, page.per_page)), query.count()
