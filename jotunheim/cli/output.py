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

from rich.console import Console
from rich.table import Table
from rich.text import Text

Document = dict[str, Any]
"""A JSON object of the API."""
Columns = Mapping[str, Callable[[Document], object]]
"""Headings, and how each value is found in a row."""

# Piped output keeps one line a row, however long; people's tools cut it as they like.
PIPE_WIDTH = 1000
_UNSAFE_CATEGORIES = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_UNITS = ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))


def console(*, stderr: bool = False) -> Console:
    """A console that takes text as it is."""
    file = sys.stderr if stderr else sys.stdout
    made = Console(file=file, markup=False, highlight=False, emoji=False, soft_wrap=True)
    if not made.is_terminal:
        made.width = PIPE_WIDTH
    return made


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
    target = console(stderr=stderr)
    for line in lines:
        target.print(Text(visible(line)))


def print_rows(key: str, rows: list[Document], columns: Columns, *, as_json: bool) -> None:
    """Print a list: `{key: rows}`, or a table."""
    if as_json:
        print_json({key: rows})
        return
    table = _plain_table()
    for heading in columns:
        table.add_column(heading.upper(), overflow="fold")
    for row in rows:
        table.add_row(*(_cell(find(row)) for find in columns.values()))
    if rows:
        print_table(table)
    else:
        print_lines([f"There are no {key.replace('_', ' ')} yet."])


def print_record(key: str, record: Document, columns: Columns, *, as_json: bool) -> None:
    """Print one thing: `{key: record}`, or a line for each field that has a value."""
    if as_json:
        print_json({key: record})
        return
    print_table(record_table({heading: find(record) for heading, find in columns.items()}))


def print_table(table: Table) -> None:
    """Print a table; without trailing blanks when nobody looks at columns."""
    target = console()
    if target.is_terminal:
        target.print(table)
        return
    with target.capture() as capture:
        target.print(table)
    print_lines(line.rstrip() for line in capture.get().splitlines())


def record_table(values: Mapping[str, object]) -> Table:
    """A table of names and values; empty values are left out."""
    table = _plain_table()
    table.show_header = False
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in values.items():
        if value not in (None, "", [], {}):
            table.add_row(Text(name), _cell(value))
    return table


def _plain_table() -> Table:
    return Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")


def _cell(value: object) -> Text:
    match value:
        case None:
            return Text("-")
        case bool():
            return Text("yes" if value else "no")
        case list():
            return Text(", ".join(visible(item) for item in value))
        case dict():
            return Text(", ".join(f"{visible(name)}={visible(item)}" for name, item in value.items()))
        case _:
            return Text(visible(value))


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
