"""A stand-in for the store's journal: notes in files, a lost lease as a file. `callback/json_lines.py` puts it in place."""

import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from jotunheim.exceptions.repository import LeaseLostError


class Journal:
    """The journal of one host; its file is of the host's name, in the folder that JOTUNHEIM_RUN_FILE names."""

    def __init__(self, host: str) -> None:
        self.file = Path(os.environ["JOTUNHEIM_RUN_FILE"]) / host

    @contextmanager
    def changing(self) -> Iterator[None]:
        if (self.file.parent / "lost").exists():
            raise LeaseLostError("The job belongs to another worker now.")
        yield

    def remember(self, operation: str, upid: str) -> None:
        with self.file.open("a") as notes:
            notes.write(f"{operation} {upid}\n")

    def recall(self, operation: str) -> str | None:
        notes = self.file.read_text().splitlines() if self.file.exists() else []
        found = [upid for name, _, upid in (note.rpartition(" ") for note in notes) if name == operation]
        return found[-1] if found else None

    def plan_made(self) -> None:
        return None

    def plan_applied(self) -> None:
        return None

    def note(self, about: str, things: Sequence[str]) -> None:
        with self.file.with_suffix(".plans").open("a") as plans:
            plans.write(json.dumps([about, time.time(), things]) + "\n")

    def noted(self, about: str) -> list[tuple[float, list[str]]]:
        file = self.file.with_suffix(".plans")
        plans = map(json.loads, file.read_text().splitlines() if file.exists() else [])
        return [(at, things) for name, at, things in plans if name == about]
