"""Why a run ended before its playbook did, as the error that a job shows."""

import errno
import os
from collections.abc import Iterable

from jotunheim.exceptions.service import ServerDeploymentError

# What Ansible and Python print when the disk of the run's directory has no room, or cannot be written any more.
_DISK = tuple(os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS))
_DISK_NUMBERS = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS),
    *(errno.EACCES, errno.EPERM, errno.EIO, errno.ENOENT, errno.EEXIST),
}
_DEAD_PROCESS = "A worker was found in a dead state"
_NOT_STARTABLE = 127
_REASON_CHARACTERS = 1000


def of_run(status: str, exit_code: int | None, printed: Iterable[str]) -> ServerDeploymentError | None:
    """The error of a run; None when it was successful.

    Args:
        status: ansible-runner's word: `successful`, `failed`, `timeout` or `canceled`.
        exit_code: of Ansible; None: it was killed by a signal.
        printed: what Ansible said outside of tasks, secrets masked.
    """
    printed = list(printed)
    if status == "successful":
        return None
    if status == "timeout":
        return ServerDeploymentError(
            "run_timeout",
            "The run took too long and was stopped.",
            retryable=True,
            hint="See the node's task list for what it waited for; stop a task that hangs. Then retry the job: "
            "it continues from where it stood.",
        )
    if status == "canceled":
        return ServerDeploymentError("ansible_failed", "The run was stopped before it had finished.")
    if any(reason in text for text in printed for reason in _DISK):
        return disk(reason_of(printed))
    if exit_code is None or any(_DEAD_PROCESS in text for text in printed):
        return killed()
    if exit_code == _NOT_STARTABLE:
        return ServerDeploymentError(
            "ansible_failed",
            f"Ansible cannot be started: {reason_of(printed)}",
            hint="Install Jotunheim again on the worker's machine, and restart the worker.",
        )
    return ServerDeploymentError(
        "ansible_failed",
        f"Ansible ended with status {status} before it had finished: {reason_of(printed)}",
        hint="See the worker's log; `ansible-playbook --syntax-check` finds broken playbooks.",
    )


def killed() -> ServerDeploymentError:
    """Ansible, or a process of it, ended without a word."""
    return ServerDeploymentError(
        "ansible_killed",
        "Ansible, or one of its processes, was killed or crashed in the middle of the run.",
        retryable=True,
        hint="Often the machine ran out of memory: see the kernel's log of the worker's machine.",
    )


def disk(reason: str) -> ServerDeploymentError:
    """The run's files cannot be written or read."""
    return ServerDeploymentError(
        "worker_disk",
        f"The worker cannot keep the run's files: {reason}.",
        retryable=True,
        hint="Make room in the worker's state directory (JOTUNHEIM_STATE_DIR), and see that it can be written.",
    )


def of_exception(error: Exception) -> ServerDeploymentError:
    """The run could not be begun, or not be followed to its end."""
    reason = type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        reason = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
        if error.errno in _DISK_NUMBERS:
            return disk(reason)
    return ServerDeploymentError(
        "ansible_failed",
        f"The run could not be followed to its end ({reason}), so it was ended.",
        hint="The worker's log has the details.",
    )


def reason_of(printed: Iterable[str]) -> str:
    """The first line that Ansible calls an error, or the last one that it printed; never a traceback."""
    lines = [line.strip() for text in printed for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.lstrip("[").startswith("ERROR")]
    return (errors or lines[-1:] or ["it printed nothing"])[0][:_REASON_CHARACTERS]


def of_task(message: str) -> str:
    """A failed task's message without the traceback that may stand in it."""
    told, mark, trace = message.partition("Traceback (most recent call last)")
    if mark:
        told = f"{told.strip()} {trace.strip().splitlines()[-1].strip() if trace.strip() else ''}"
    return told.strip()[:_REASON_CHARACTERS] or "no reason was given"
