"""Starts `ansible-playbook` in this interpreter, tied to the worker that wants it.

    python -m jotunheim.ansible.launcher WORKER_PID ARGUMENTS…

A worker that dies takes its run with it: otherwise the run would go on changing Proxmox while another
worker already continues the job. The same holds for what Ansible forks: its workers have sessions of their own, so
that stopping a run by its process group does not reach them.
"""

import gc
import os
import sys
import time
from typing import Any

from jotunheim.lifeline import die_with_parent

# How long all of Ansible's processes must be gone, and how often it must have looked, before a result that did not
# come is given up. A result that is under way takes milliseconds.
_LOST_SECONDS = 3
_LOST_LOOKS = 100
_LOOK_PAUSE_SECONDS = 0.01
"""Between two looks for results. Ansible's own, a millisecond, costs more than the tasks where nodes take their time."""

_NICENESS = 10
"""Runs may be many processes: the worker, which renews leases, and the API come first."""


def main() -> None:
    """Entry point; the first argument is the pid that must be the parent."""
    die_with_parent(int(sys.argv[1]))
    play(sys.argv[2:])


def play(arguments: list[str]) -> None:
    """Be `ansible-playbook` with these arguments; ends the process."""
    _tie_children()
    os.nice(_NICENESS)
    # A child for each task: its garbage collection shall not look at, and so copy, what the run has loaded by then.
    os.register_at_fork(before=gc.freeze)
    sys.argv = ["ansible-playbook", *arguments]
    from ansible import constants
    from ansible.cli.playbook import main as ansible_playbook
    from ansible.executor.task_queue_manager import TaskQueueManager

    constants.set_constant("DEFAULT_INTERNAL_POLL_INTERVAL", _LOOK_PAUSE_SECONDS)
    TaskQueueManager.has_dead_workers = _finds_all_dead(TaskQueueManager.has_dead_workers)
    ansible_playbook()


def _tie_children() -> None:
    """Let whatever this process forks end with it, also when this one is killed before the child has said so."""
    forker = 0

    def remember() -> None:
        nonlocal forker
        forker = os.getpid()

    os.register_at_fork(before=remember, after_in_child=lambda: die_with_parent(forker))


def _finds_all_dead(has_dead_workers: Any) -> Any:
    """Ansible's own look for dead processes, which overlooks those that ended with exit code 0 and without a result.

    It would wait for such a result for ever. Ansible asks only while it waits for results.
    """
    looks = 0
    since = 0.0

    def looked(manager: Any) -> bool:
        nonlocal looks, since
        if has_dead_workers(manager):
            return True
        codes = [process.exitcode for process in manager.get_workers() if process is not None]
        if not codes or None in codes:
            looks = 0
            return False
        if looks == 0:
            since = time.monotonic()
        looks += 1
        return looks > _LOST_LOOKS and time.monotonic() - since > _LOST_SECONDS

    return looked


if __name__ == "__main__":
    main()
