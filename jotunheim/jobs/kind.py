"""What a kind of job is."""

from collections.abc import Callable
from dataclasses import dataclass

from jotunheim.actions.context import ActionContext
from jotunheim.actions.server.cancel import settle
from jotunheim.exceptions import JotunheimError
from jotunheim.repositories.peewee.jobs import Job


def nothing(job: Job) -> None:
    """Nothing is recorded when such a job begins."""


def unchanged(job: Job, error: JotunheimError) -> None:
    """Nothing but the job says that it failed."""


@dataclass(frozen=True)
class JobKind:
    """One type of job.

    Attributes:
        run: carries a claimed job out; at its end the job is marked succeeded. Raises what went wrong.
        start: records that the work begins, and may refuse it; called within a transaction.
        fail: records what a failed job leaves; called within the transaction that marks the job failed.
        cancel: ends an interrupted job: takes back what it made, or keeps it; at its end the job is marked cancelled.
            Raises TooLateError when there is no way back: then it is run to its end.

    A preview (`job.check_only`) changes no record: it is only run.
    """

    type: str
    run: Callable[[Job, ActionContext], None]
    start: Callable[[Job], None] = nothing
    fail: Callable[[Job, JotunheimError], None] = unchanged
    cancel: Callable[[Job, ActionContext], None] = settle
