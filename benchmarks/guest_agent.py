"""Modules and files in a guest over the guest agent, compared with SSH.

By itself: `python -m benchmarks.guest_agent`. The guest is the sandbox's, which answers without Proxmox VE's own delays: all
that is measured is our own cost, and the guest's.
"""

import io
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml

from tests.guest_agent.conftest import VMID, Server
from tests.playbooks import pve_playbooks
from tests.support.guests import SshClient
from tests.support.sandbox import Sandbox

from ansible_collections.jotunheim.pve.plugins.plugin_utils import guest_files  # isort: skip

COMMANDS = 50
MODULES = 15
FILE_BYTES = 20_000_000


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        client = SshClient.make(folder)
        with Sandbox.start(folder, time_scale=0, guests="process") as sandbox:
            server = Server(sandbox)
            sandbox.do("PUT", f"/nodes/pve1/qemu/{VMID}/config", sshkeys=quote(client.public_key, safe=""))
            server.guest.power("reboot")
            server.guest.wait_up()
            _commands(server)
            _files(server)
            _modules(server, client, folder)


def _commands(server: Server) -> None:
    commands = server.commands()
    commands.run("true")
    times = [_seconds(lambda: commands.run("true")) for _ in range(COMMANDS)]
    commands.close()
    print(f"one command: median {1000 * statistics.median(times):.0f} ms, slowest {1000 * max(times):.0f} ms")


def _files(server: Server) -> None:
    commands = server.commands()
    for kind, data in (
        ("random", os.urandom(FILE_BYTES)),
        ("text", b"a line of text\n" * (FILE_BYTES // 15)),
    ):
        sent = _seconds(lambda data=data: guest_files.put(commands, io.BytesIO(data), "/var/tmp/file"))
        fetched = _seconds(lambda: guest_files.fetch(commands, "/var/tmp/file", io.BytesIO()))
        print(
            f"a file of {len(data) / 1e6:.0f} MB, {kind}: there {_rate(data, sent)}, back {_rate(data, fetched)}"
        )
    commands.close()


def _modules(server: Server, client: SshClient, folder: Path) -> None:
    """What one more task costs, without the start of Ansible."""
    ssh = server.guest.ssh
    over_ssh = {
        "pve_connection_use": "ssh",
        "ansible_host": ssh["host"],
        "ansible_port": ssh["port"],
        "ansible_user": "debian",
        "ansible_ssh_private_key_file": str(client.folder / "key"),
        "ansible_ssh_common_args": "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -F none",
    }
    ways: dict[str, dict[str, Any]] = {
        "guest agent": {"pve_connection_use": "guest_agent"},
        "guest agent, no pipelining": {
            "pve_connection_use": "guest_agent",
            "ansible_pipelining": False,
        },
        "ssh": over_ssh,
        "ssh, pipelining": over_ssh | {"ansible_pipelining": True},
    }
    playbooks = pve_playbooks.Playbooks(pve_playbooks.Sandbox(server.sandbox.ready), folder)
    for way, variables in ways.items():
        inventory = playbooks.inventory(
            web_1=playbooks.server(ansible_python_interpreter="/usr/bin/python3", **variables)
        )
        few, many = (_run(playbooks, inventory, count) for count in (1, MODULES + 1))
        print(f"one module (ping) over {way}: {1000 * (many - few) / MODULES:.0f} ms")


def _run(playbooks: pve_playbooks.Playbooks, inventory: Path, count: int) -> float:
    playbook = playbooks.folder / "pings.yml"
    tasks: list[dict[str, Any]] = [
        {"name": "Choose", "ansible.builtin.import_role": {"name": "pve_connection"}}
    ]
    tasks += [{"name": str(number), "ansible.builtin.ping": {}} for number in range(count)]
    playbook.write_text(yaml.safe_dump([{"hosts": "servers", "gather_facts": False, "tasks": tasks}]))
    began = time.perf_counter()
    run = playbooks.run(playbook, inventory)
    assert run.code == 0, run.output
    return time.perf_counter() - began


def _seconds(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _rate(data: bytes, seconds: float) -> str:
    return f"{len(data) / seconds / 1e6:.1f} MB/s"


if __name__ == "__main__":
    main()
