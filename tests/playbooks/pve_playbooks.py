"""The sandbox as the tests see it, and real `ansible-playbook` runs against it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import requests
import yaml

from jotunheim.ansible.warm import WarmAnsible
from jotunheim.repositories.proxmox import Endpoint, ProxmoxClient, TlsPolicy, api_path
from tests.support import pve_schema

ROOT = Path(__file__).parents[2]
ANSIBLE_PLAYBOOK = Path(sys.executable).with_name("ansible-playbook")
TASK_POLL = "/tasks/UPID:"
ENVIRONMENT = {
    "LANG": "C.UTF-8",
    "PYTHONPATH": str(ROOT),
    "ANSIBLE_ROLES_PATH": str(ROOT / "roles"),
    "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "jotunheim" / "collections"),
    "ANSIBLE_CALLBACK_PLUGINS": str(Path(__file__).parent / "callback"),
    "ANSIBLE_CALLBACKS_ENABLED": "json_lines",
    "ANSIBLE_LOCALHOST_WARNING": "0",
}
"""What all runs have in common."""


class Sandbox:
    """The stand-in's addresses, and what its control endpoint can do."""

    def __init__(self, ready: Mapping[str, Any]) -> None:
        self.ready = dict(ready)
        url = urlsplit(ready["url"])
        self.host, self.port = str(url.hostname), int(url.port or 0)
        self._http = requests.Session()
        self._http.trust_env = False

    def control(self, method: str, path: str, /, **body: Any) -> Any:
        answer = self._http.request(method, self.ready["control_url"] + path, json=body or None, timeout=10)
        assert answer.ok, answer.text
        return answer.json()

    def check_requests(self) -> None:
        """What the plugins sent since the last reset must be what PVE's schema allows."""
        entries = self.control("GET", "/requests")["requests"]
        pve_schema.assert_lawful(entries)

    def forget_refused(self, parameter: str) -> None:
        """Forget the requests, of which some were to be refused for this parameter, and none for another."""
        found = pve_schema.problems_of_log(self.control("GET", "/requests")["requests"])
        assert found
        assert all(f": {parameter}: " in problem for problem in found), found
        self.control("DELETE", "/requests")

    def reset(self) -> None:
        self.control("POST", "/reset", nodes=1)
        self.control(
            "PATCH",
            "/settings",
            time_scale=0.02,
            durations={"lock_timeout": 10.0},
            rates={"clone": 700.0 * 1024**2},
        )

    def vms(self) -> dict[int, dict[str, Any]]:
        return {vm["vmid"]: vm for vm in self.control("GET", "/vms")}

    def vm(self, vmid: int) -> dict[str, Any]:
        return self.vms()[vmid]

    def change(self, vmid: int, **fields: Any) -> None:
        self.control("PATCH", f"/vms/{vmid}", **fields)

    def own_server(self, number: int = 1, **config: Any) -> int:
        """A stopped server of ours, as a clone of the template with our mark in both places. Returns its VMID."""
        vmid, uuid = 1100 + number, str(UUID(int=number))
        path = api_path("nodes", "pve1", "qemu", 9000, "clone")
        with self.client() as pve:
            pve.run(
                "clone",
                "POST",
                path,
                timeout_seconds=10,
                newid=vmid,
                name=f"web-{number}",
                full=True,
                description=f"jotunheim:server={uuid}",
            )
        self.change(vmid, config={"smbios1": f"uuid={uuid}", **config})
        self.forget_requests()
        return vmid

    def start(self, vmid: int) -> None:
        """Start a VM as PVE does, so that its cloud-init drive is written."""
        with self.client() as pve:
            path = api_path("nodes", "pve1", "qemu", vmid, "status", "start")
            pve.run("start", "POST", path, timeout_seconds=10)
        self.forget_requests()

    def state(self) -> dict[str, Any]:
        """Everything that the stand-in knows."""
        dumped: dict[str, Any] = self.control("GET", "/state")
        return dumped

    def fault(self, **fault: Any) -> None:
        self.control("POST", "/faults", **fault)

    def requests(self, *, polls: bool = False) -> list[str]:
        """The requests since the last reset, without waiting polls."""
        lines = self.control("GET", "/requests")["requests"]
        return [f"{r['method']} {r['path']}" for r in lines if polls or TASK_POLL not in r["path"]]

    def forget_requests(self) -> None:
        self.check_requests()
        self.control("DELETE", "/requests")

    def client(self) -> ProxmoxClient:
        tls = TlsPolicy(fingerprint=self.ready["fingerprint"])
        return ProxmoxClient(
            Endpoint(self.host, self.ready["token_id"], self.ready["token_secret"], port=self.port, tls=tls)
        )

    def tasks(self, kind: str) -> list[dict[str, Any]]:
        with self.client() as pve:
            return [
                task for task in pve.get("nodes/pve1/tasks", source="all", limit=500) if task["type"] == kind
            ]


@dataclass(frozen=True)
class TaskResult:
    """One line of the callback plugin."""

    host: str
    task: str
    action: str
    outcome: str
    result: dict[str, Any]


@dataclass(frozen=True)
class Run:
    """A finished ansible-playbook."""

    code: int
    output: str
    results: list[TaskResult]

    def of(self, action: str, host: str = "web-1") -> dict[str, Any]:
        """The result of the task with this action."""
        (found,) = [r for r in self.results if r.action == f"jotunheim.pve.{action}" and r.host == host]
        return found.result

    def by_host(self) -> dict[str, dict[str, Any]]:
        """The last result of each host."""
        return {r.host: r.result for r in self.results}

    @property
    def all(self) -> list[dict[str, Any]]:
        """The results in their order."""
        return [r.result for r in self.results]

    @property
    def changed(self) -> list[str]:
        return [r.task for r in self.results if r.result.get("changed")]

    @property
    def diffs(self) -> dict[str, Any]:
        return {r.task: r.result["diff"] for r in self.results if "diff" in r.result}

    @property
    def error(self) -> dict[str, Any]:
        (failed,) = [r for r in self.results if r.outcome == "failed"]
        error: dict[str, Any] = failed.result["error"]
        return error


class Unsafe(str):
    """A string that becomes `!unsafe` in the inventory, as all that callers say."""

    __slots__ = ()


class _Dumper(yaml.SafeDumper):
    pass


_Dumper.add_representer(Unsafe, lambda dumper, text: dumper.represent_scalar("!unsafe", str(text)))


@dataclass
class Playbooks:
    """Writes an inventory and runs playbooks with it.

    Attributes:
        warm: forks Ansible for runs whose environment is the usual one; None: each run is `ansible-playbook` by hand.
    """

    sandbox: Sandbox
    folder: Path
    warm: WarmAnsible | None = None
    environment: dict[str, str] = field(default_factory=dict)

    def server(self, number: int = 1, **changes: Any) -> dict[str, Any]:
        """The variables of one server."""
        ready = self.sandbox.ready
        variables = {
            "pve_api_host": self.sandbox.host,
            "pve_api_port": self.sandbox.port,
            "pve_api_token_id": ready["token_id"],
            "pve_api_token_secret": ready["token_secret"],
            "pve_api_fingerprint": ready["fingerprint"],
            "pve_node": "pve1",
            "pve_vmid": 1100 + number,
            "pve_uuid": str(UUID(int=number)),
            "pve_cloudinit_password": "canary-cloudinit-password",
            "pve_clone_template_vmid": ready["template_vmid"],
            "pve_clone_name": Unsafe(f"web-{number}"),
            "pve_clone_full": True,
            "pve_config_name": Unsafe(f"web-{number}"),
            "pve_config_cores": 2,
            "pve_config_memory_bytes": 2 * 1024**3,
            "pve_config_cpu_type": "host",
            "pve_config_tags": ["Web", "ci"],
            "pve_config_description": Unsafe("The first\nweb server"),
            "pve_config_onboot": True,
            "pve_config_agent": True,
            "pve_config_networks": [
                {"bridge": "vmbr0", "firewall": True, "rate_bytes_per_second": 12_500_000}
            ],
            "pve_config_cloudinit": {
                "user": "debian",
                "ssh_keys": [Unsafe(f"{KEY} admin@example.com")],
                "ip_configs": [{"ipv4_address": "10.99.0.10/24", "ipv4_gateway": "10.99.0.1"}],
                "nameservers": ["10.99.0.1", "9.9.9.9"],
                "search_domain": "example.com",
            },
            "pve_config_disk": {"size_bytes": 3 * 1024**3},
            "pve_firewall_enabled": True,
            "pve_firewall_mac_filter": True,
            "pve_firewall_ip_filter": True,
            "pve_firewall_addresses": ["10.99.0.10"],
            "pve_firewall_rules": [],
        }
        return variables | changes

    def template(self, number: int = 1, **changes: Any) -> dict[str, Any]:
        """The variables of one template that is to be built; what it is made from has to be added."""
        connection = ("pve_api_", "pve_node")
        found = {name: value for name, value in self.server().items() if name.startswith(connection)}
        found |= {
            "pve_vmid": 9100 + number,
            "pve_template_name": Unsafe(f"debian-{number}"),
            "pve_template_storage": "vmstore",
        }
        return found | changes

    def inventory(self, group: str = "servers", /, **hosts: Mapping[str, Any]) -> Path:
        """A YAML inventory with these hosts in a group (underscores in names become hyphens)."""
        named = {name.replace("_", "-"): dict(variables) for name, variables in hosts.items()}
        file = self.folder / "inventory.yml"
        file.write_text(yaml.dump({group: {"hosts": named}}, Dumper=_Dumper, sort_keys=False))
        return file

    def command(self, playbook: str | Path, inventory: Path, *arguments: str) -> list[str]:
        ansible_playbook = self.warm.command(self._environment()) if self.warm else None
        return [
            *(ansible_playbook or [str(ANSIBLE_PLAYBOOK)]),
            *("-i", str(inventory), str(ROOT / "playbooks" / playbook), *arguments),
        ]

    def start(self, playbook: str | Path, inventory: Path, *arguments: str) -> "subprocess.Popen[str]":
        """Start a playbook in its own process group."""
        return subprocess.Popen(
            self.command(playbook, inventory, *arguments),
            env=self._environment(),
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, playbook: str | Path, inventory: Path, *arguments: str) -> Run:
        """Run a playbook to its end."""
        results = self.folder / "results"
        results.unlink(missing_ok=True)
        process = self.start(playbook, inventory, *arguments)
        output, _ = process.communicate(timeout=60)
        lines = results.read_text().splitlines() if results.exists() else []
        return Run(process.returncode, output, [TaskResult(**json.loads(line)) for line in lines])

    def build(self, *arguments: str, **changes: Any) -> Run:
        """`server_build.yml` for one server."""
        return self.run(
            "server_build.yml", self.inventory(web_1=self.server(**changes)), "--diff", *arguments
        )

    def tasks(self, *tasks: Mapping[str, Any], arguments: tuple[str, ...] = (), **changes: Any) -> Run:
        """Tasks of the collection for one server, each ``{action: options}``; all run, failed or not."""
        return self.play(tasks, self.inventory(web_1=self.server(**changes)), *arguments)

    def play(self, tasks: Iterable[Mapping[str, Any]], inventory: Path, *arguments: str) -> Run:
        """Tasks of the collection for the servers of an inventory."""
        listed = [
            {"name": str(number), f"jotunheim.pve.{action}": dict(options), "ignore_errors": True}
            for number, task in enumerate(tasks)
            for action, options in task.items()
        ]
        playbook = self.folder / "tasks.yml"
        playbook.write_text(
            yaml.dump([{"hosts": "servers", "gather_facts": False, "tasks": listed}], Dumper=_Dumper)
        )
        return self.run(playbook, inventory, "--diff", *arguments)

    def with_journal(self) -> Path:
        """Run as under the service, with a journal. Returns the folder with its notes, one file per host."""
        notes = self.folder / "journal"
        notes.mkdir()
        self.environment = {"JOTUNHEIM_RUN_FILE": str(notes)}
        return notes

    def _environment(self) -> dict[str, str]:
        return {
            **ENVIRONMENT,
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "RESULTS_FILE": str(self.folder / "results"),
            **self.environment,
        }


KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJx0wqEEMq7wLr8XbJ3WYmHyZ8aQ9sYqv3nXhGm0Q4pB"
