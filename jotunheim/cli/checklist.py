"""A list of things that are under way, with their times: live on a terminal, a line for each end elsewhere."""

import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from jotunheim.cli.output import seconds, visible
from jotunheim.cli.tables import console

REFRESHES_PER_SECOND = 8
_MARKS = {"ok": ("✓", "green"), "failed": ("✗", "red"), "skipped": ("-", "dim"), "lost": ("-", "dim")}


@dataclass
class Item:
    """One line of the list: a label, how it stands, and what is worth saying about it."""

    label: str
    depth: int
    status: str = "running"
    """`running`, `ok`, `failed`, `skipped` or `lost`."""
    note: str = ""
    elapsed: float | None = None
    began: float = field(default_factory=time.monotonic)
    spinner: Spinner = field(default_factory=lambda: Spinner("dots"))

    def time(self) -> str:
        """How long it took, or takes so far."""
        return seconds(time.monotonic() - self.began if self.elapsed is None else self.elapsed)


class Checklist:
    """Shows items as they begin and end. Use it as a context."""

    def __init__(self, *, silent: bool = False) -> None:
        self._console: Console = console()
        self._silent = silent
        self._items: list[Item] = []
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal and not self._silent:
            self._live = Live(
                get_renderable=self._render, console=self._console, refresh_per_second=REFRESHES_PER_SECOND
            )
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for item in self._items:
            if item.status == "running":
                self.end(item, "failed" if error else "lost")
        if self._live:
            self._live.stop()

    def begin(self, label: str, depth: int = 0) -> Item:
        """Add an item that runs from now on."""
        item = Item(visible(label), depth)
        self._items.append(item)
        return item

    def end(self, item: Item, status: str = "ok", note: str | None = None, took: float | None = None) -> None:
        """Say how an item ended.

        Args:
            note: what is worth saying about it; None keeps what was said before.
            took: seconds, if somebody else measured them better.
        """
        item.elapsed = time.monotonic() - item.began if took is None else took
        item.status = status
        if note is not None:
            item.note = visible(note)
        if not self._silent and self._live is None:
            line = f"{'  ' * item.depth}{status:<7} {item.time():>7}  {item.label}  {item.note}"
            self._console.print(Text(line.rstrip()))

    def _render(self) -> RenderableType:
        table = Table.grid(padding=(0, 1, 0, 0))
        table.add_column()
        table.add_column(min_width=36)
        table.add_column(justify="right", min_width=7)
        table.add_column(style="dim")
        for item in self._items:
            mark, style = _MARKS.get(item.status, ("", ""))
            lead: RenderableType = Text(mark, style=style) if mark else item.spinner
            label = Text("  " * item.depth + item.label, style="dim" if item.status == "skipped" else "")
            table.add_row(lead, label, item.time(), Text(item.note))
        return Group(table)
