"""Starts `ansible-playbook` in this interpreter, tied to the worker that wants it.

    python -m jotunheim.ansible.launcher WORKER_PID ARGUMENTS…

A worker that dies takes its run with it: otherwise the run would go on changing Proxmox while another
worker already continues the job. The same holds for what Ansible forks: its workers have sessions of their own, so
that stopping a run by its process group does not reach them.
"""

import os
import sys

from jotunheim.lifeline import die_with_parent


def main() -> None:
    """Entry point; the first argument is the pid that must be the parent."""
    die_with_parent(int(sys.argv[1]))
    os.register_at_fork(after_in_child=die_with_parent)
    sys.argv = ["ansible-playbook", *sys.argv[2:]]
    from ansible.cli.playbook import main as ansible_playbook

    ansible_playbook()


if __name__ == "__main__":
    main()
