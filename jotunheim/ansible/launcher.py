"""Starts `ansible-playbook` in this interpreter, tied to the worker that wants it.

    python -m jotunheim.ansible.launcher WORKER_PID ARGUMENTS…

A worker that dies takes its run with it: otherwise the run would go on changing Proxmox while another
worker already continues the job.
"""

import sys

from jotunheim.lifeline import die_with_parent


def main() -> None:
    """Entry point; the first argument is the pid that must be the parent."""
    die_with_parent(int(sys.argv[1]))
    sys.argv = ["ansible-playbook", *sys.argv[2:]]
    from ansible.cli.playbook import main as ansible_playbook

    ansible_playbook()


if __name__ == "__main__":
    main()
