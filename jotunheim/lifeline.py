"""Ties a child process's life to its parent's.

A worker that is killed with -9 cannot stop the Ansible processes it started. Without this they would
go on changing Proxmox while another worker already continues the job.
"""

import ctypes
import os
import signal

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def die_with_parent(parent: int | None = None, number: int = signal.SIGKILL) -> None:
    """Have the kernel signal this process as soon as the thread that started it ends (Linux; elsewhere nothing).

    Args:
        parent: pid that must still be the parent; if it is not (the parent died before this call),
            this process ends at once. None: whoever is the parent now.
        number: the signal.
    """
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_PDEATHSIG, number)
    except (OSError, AttributeError):
        return  # no prctl outside Linux
    if parent is not None and os.getppid() != parent:
        os._exit(1)
