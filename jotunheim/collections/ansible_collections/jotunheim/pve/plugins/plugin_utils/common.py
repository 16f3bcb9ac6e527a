"""What plugins of all kinds share: the job's journal, and how an error reads."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from jotunheim.exceptions import JotunheimError
from jotunheim.exceptions.model import DataValidationError

if TYPE_CHECKING:
    from jotunheim.repositories.peewee.journal import Journal

# Imported before Ansible forks, like the rest: the store takes as long to import as a task takes to run.
# A run by hand has no job, hence no journal, and needs no store.
_open_journal: Callable[[str], Journal | None] | None = None
if os.environ.get("JOTUNHEIM_RUN_FILE"):
    from jotunheim.repositories.peewee import journal

    _open_journal = journal.open_journal


def journal_of(host: str) -> Journal | None:
    """The journal of the job that an inventory host belongs to; None: a run by hand."""
    return None if _open_journal is None else _open_journal(host)


def message_of(error: JotunheimError) -> str:
    """The error's message; all problems of bad data."""
    if isinstance(error, DataValidationError):
        return " ".join(f"{problem.field}: {problem.message}." for problem in error.problems)
    return error.message
