"""What commands print: one JSON document for programs, tables and lines for people.

Text that somebody chose (names, labels, messages of nodes) may hold terminal control sequences and
Rich markup. Everything that is printed for people goes through `visible` and is never read as markup.
"""

import json
import sys
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

Document = dict[str, Any]
"""A JSON object of the API."""
Columns = Mapping[str, Callable[[Document], object]]
"""Headings, and how each value is found in a row."""

_UNSAFE_CATEGORIES = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_UNITS = ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))


def visible(value: object) -> str:
    """A text in which control, format and unassigned characters are written out, e.g. `\\x1b`."""
    text = str(value)
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        ascii(character)[1:-1] if unicodedata.category(character) in _UNSAFE_CATEGORIES else character
        for character in text
    )


def print_json(document: Mapping[str, Any]) -> None:
    """Print one JSON document on a line of its own."""
    sys.stdout.write(json.dumps(document, ensure_ascii=True) + "\n")
    sys.stdout.flush()


def print_lines(lines: Iterable[str], *, stderr: bool = False) -> None:
    """Print lines for a person."""
    target = sys.stderr if stderr else sys.stdout
    for line in lines:
        target.write(visible(line) + "\n")
    target.flush()


def print_rows(key: str, rows: list[Document], columns: Columns, *, as_json: bool) -> None:
    """Print a list: `{key: rows}`, or a table."""
    if as_json:
        print_json({key: rows})
        return
    if not rows:
        print_lines([f"There are no {key.replace('_', ' ')} yet."])
        return
    from jotunheim.cli import tables

    tables.print_table(tables.table_of(rows, columns))


def print_record(key: str, record: Document, columns: Columns, *, as_json: bool) -> None:
    """Print one thing: `{key: record}`, or a line for each field that has a value."""
    if as_json:
        print_json({key: record})
        return
    from jotunheim.cli import tables

    tables.print_table(tables.record_table({heading: find(record) for heading, find in columns.items()}))


def size(value: int | None) -> str | None:
    """A number of bytes with the largest unit that keeps it whole."""
    if value is None:
        return None
    for unit, name in _UNITS:
        if value % unit == 0 and value:
            return f"{value // unit} {name}"
    return f"{value} B"


def seconds(value: float) -> str:
    """A duration: `0.4 s`, `1:05`, `2:03:04`."""
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(int(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def moment(text: str) -> datetime:
    """A time as the API writes it."""
    parsed = datetime.fromisoformat(text)
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def local_time(text: str | None) -> str | None:
    """A time of the API in the reader's time zone, to the second."""
    return moment(text).astimezone().strftime("%Y-%m-%d %H:%M:%S") if text else None


def duration(begin: str | None, end: str | None) -> str | None:
    """The time between two moments of the API."""
    return seconds((moment(end) - moment(begin)).total_seconds()) if begin and end else None
