"""Tables for people, drawn by Rich. Imported only when one is printed: loading Rich takes a while."""

import sys
from collections.abc import Iterable, Mapping

from rich.console import Console
from rich.table import Table
from rich.text import Text

from jotunheim.cli.output import Columns, Document, print_lines, visible

# Piped output keeps one line a row, however long; people's tools cut it as they like.
PIPE_WIDTH = 1000


def console(*, stderr: bool = False) -> Console:
    """A console that takes text as it is."""
    file = sys.stderr if stderr else sys.stdout
    made = Console(file=file, markup=False, highlight=False, emoji=False, soft_wrap=True)
    if not made.is_terminal:
        made.width = PIPE_WIDTH
    return made


def print_table(table: Table) -> None:
    """Print a table; without trailing blanks when nobody looks at columns."""
    target = console()
    if target.is_terminal:
        target.print(table)
        return
    with target.capture() as capture:
        target.print(table)
    print_lines(line.rstrip() for line in capture.get().splitlines())


def table_of(rows: Iterable[Document], columns: Columns) -> Table:
    """A table with a line for each row."""
    table = _plain_table()
    for heading in columns:
        table.add_column(heading.upper(), overflow="fold")
    for row in rows:
        table.add_row(*(_cell(find(row)) for find in columns.values()))
    return table


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
