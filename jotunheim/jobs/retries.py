"""Which failures may pass, and how long a job waits before it is tried again.

What a person has to mend first is not in the table: it would only fail once more.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass

from jotunheim.exceptions import JotunheimError
from jotunheim.exceptions.repository import ProxmoxVmNotFoundError, VmMovedError


@dataclass(frozen=True)
class Backoff:
    """Pauses that grow from attempt to attempt.

    Attributes:
        first: how long the first one is, as a multiple of the setting `retry_base_seconds`.
        factor: by how much each is longer than the one before.
        attempts: how many attempts there are in all, as far as the job allows that many.
    """

    first: float
    factor: float
    attempts: int

    def pause(self, attempt: int) -> float:
        """How long to wait after this attempt, in units of the setting."""
        pause: float = self.first * self.factor ** (attempt - 1)
        return pause


# With the default of 2 s, a node may be away for about three minutes before a job fails.
BACKOFFS: Mapping[str, Backoff] = {
    "node_unavailable": Backoff(first=1, factor=4, attempts=5),
    "vm_locked": Backoff(first=2, factor=3, attempts=4),
    "config_changed": Backoff(first=0.25, factor=2, attempts=4),
    "read_back_failed": Backoff(first=2, factor=3, attempts=3),
    # As long as a restart takes; what takes longer is met again when the lease of the job has expired.
    "store_unavailable": Backoff(first=0.5, factor=4, attempts=4),
    # The task is still going: the next attempt takes it over, and waits as long again.
    "task_timeout": Backoff(first=1, factor=1, attempts=2),
}

MOVED = frozenset({ProxmoxVmNotFoundError.code, VmMovedError.code})
"""What a run says when the VM is not on the server's node."""

# Jobs that failed together, because of one node, do not all come back in the same moment.
_JITTER = (0.75, 1.25)


def may_have_moved(error: JotunheimError, attempt: int, max_attempts: int) -> bool:
    """Whether the VM may be on another node of the cluster, where the job would succeed."""
    return error.code in MOVED and attempt < max_attempts


def pause(error: JotunheimError, attempt: int, max_attempts: int, base_seconds: float) -> float | None:
    """Seconds until a job is tried again after a failed attempt; None: it is not.

    Args:
        attempt: the number of the attempt that failed, from 1.
        base_seconds: the setting `retry_base_seconds`; 0 switches automatic attempts off.
    """
    backoff = BACKOFFS.get(error.code)
    if backoff is None or not error.retryable or base_seconds <= 0:
        return None
    if attempt >= min(backoff.attempts, max_attempts):
        return None
    return base_seconds * backoff.pause(attempt) * random.uniform(*_JITTER)  # noqa: S311 - no secret
