"""What a kind of job is."""

from collections.abc import Callable
from dataclasses import dataclass

from jotunheim.actions.context import ActionContext
from jotunheim.exceptions import JotunheimError
from jotunheim.repositories.peewee.jobs import Job


@dataclass(frozen=True)
class JobKind:
    """One type of job.

    Attributes:
        run: carries a claimed job out; at its end the job is marked succeeded. Raises what went wrong.
        fail: marks the job failed, and what it was about; called within a transaction.
    """

    type: str
    run: Callable[[Job, ActionContext], None]
    fail: Callable[[Job, JotunheimError], None]
