"""The run by hand: an `ansible-playbook` line that works in any shell, with the demo's state."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from jotunheim.ansible import inventory, paths
from jotunheim.cli.demo.directory import DemoDirectory
from jotunheim.cli.errors import CommandError
from jotunheim.settings import PREFIX

RECAP = re.compile(r"^(\S+)\s+: (ok=\d+ .*)$", re.MULTILINE)


class Replay:
    """The build of the demo's servers, by hand.

    Args:
        servers: their names, as in the inventory.
        hypervisor: HOST:PORT of the Proxmox VE stand-in.
    """

    def __init__(self, directory: DemoDirectory, servers: Sequence[str], hypervisor: str) -> None:
        self._directory = directory
        self._environment = {
            "JOTUNHEIM_CONFIG": str(directory.settings_file),
            **paths.environment(),
        }
        self._playbook = [
            _program("ansible-playbook"),
            "-i",
            str(directory.inventories),
            str(paths.PLAYBOOKS / "server_build.yml"),
            "--limit",
            servers[0] if len(servers) == 1 else inventory.GROUP,
            "--diff",
        ]
        self._hypervisor = [
            _program("jotunheim"),
            "sandbox",
            "--listen",
            hypervisor,
            "--state",
            str(directory.hypervisor_file),
            "--",
        ]

    def line(self, *, hypervisor_runs: bool) -> str:
        """The line for a shell.

        Args:
            hypervisor_runs: False: the line starts the stand-in again, for as long as the playbook runs.
        """
        command = self._playbook if hypervisor_runs else [*self._hypervisor, *self._playbook]
        # Settings of the shell that the line is pasted into would win over the demo's file.
        foreign = sorted(
            name for name in os.environ if name.startswith(PREFIX) and name not in self._environment
        )
        unset = ["env", *(f"-u {name}" for name in foreign)] if foreign else []
        variables = [f"{name}={shlex.quote(value)}" for name, value in self._environment.items()]
        return " ".join([*unset, *variables, shlex.join(command)])

    def run(self) -> dict[str, dict[str, int]]:
        """Run the playbook as the line does, while the stand-in is up.

        Returns:
            Ansible's recap: counts of tasks by host and outcome.

        Raises:
            CommandError: it failed, or it found something to change.
        """
        ended = subprocess.run(
            self._playbook,
            env={**self._directory.environment(), **self._environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        output = ended.stdout.decode(errors="replace")
        self._directory.log_file("replay").write_text(output)
        recap = {
            host: {word: int(count) for word, count in (pair.split("=") for pair in counts.split())}
            for host, counts in RECAP.findall(output)
        }
        if ended.returncode or not recap or any(counts["changed"] for counts in recap.values()):
            raise CommandError(
                f"The run by hand ended with status {ended.returncode} and this recap: {recap or 'none'}.",
                code="replay_failed",
                hint=f"See {self._directory.log_file('replay')}.",
            )
        return recap


def _program(name: str) -> str:
    """Where a program is that was installed together with us."""
    beside = Path(sys.executable).with_name(name)
    return str(beside) if beside.exists() else shutil.which(name) or name
