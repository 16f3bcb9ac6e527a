"""A running Jotunheim service and a client of its API."""

import json
import os
import shutil
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx

from tests.support import plain_http
from tests.support.processes import Process, end, free_port, start_jotunheim, wait_for
from tests.support.sandbox import Sandbox

QUICK = {
    "JOTUNHEIM_LEASE_SECONDS": "4",
    "JOTUNHEIM_SWEEP_SECONDS": "0.3",
    "JOTUNHEIM_DRAIN_SECONDS": "10",
    "JOTUNHEIM_SYNC_SECONDS": "3600",  # so that a node hears only what a test asks for; those of syncs set it
    "JOTUNHEIM_ORPHAN_SCAN_SECONDS": "0",
    "JOTUNHEIM_DRIFT_SWEEP_SECONDS": "0",  # likewise
    "JOTUNHEIM_RETRY_BASE_SECONDS": "0",  # tests of failures want to see them; others set it
    **dict.fromkeys(  # tests ask often, and wrongly on purpose; those of limits set them
        (
            "JOTUNHEIM_RATE_LIMIT",
            "JOTUNHEIM_AUTH_FAILURE_LIMIT",
            "JOTUNHEIM_LOGIN_RATE_LIMIT",
            "JOTUNHEIM_LOGIN_ADDRESS_RATE_LIMIT",
        ),
        "",
    ),
}

SHOWN_LINES = 80
"""How much of a log is shown when a test fails."""

_FIRST_VMIDS = count(10_000, 10_000)
"""Where the VMIDs of each service begin: several share a sandbox, and know nothing of each other."""

_OF_THE_STORE = {"JOTUNHEIM_DATABASE_URL", "JOTUNHEIM_SECRET_KEY"}
"""Settings with which a state directory is another one from the beginning."""


@cache
def _initialised() -> tuple[TemporaryDirectory[str], str]:
    """A state directory to copy, and its administrator's token."""
    directory = TemporaryDirectory(prefix="jotunheim-initialised-")
    return directory, _initialise({"JOTUNHEIM_STATE_DIR": directory.name})


def _initialise(environment: Mapping[str, str]) -> str:
    with TemporaryDirectory() as folder:
        log = Path(folder) / "init.log"
        process = start_jotunheim(["init", "--admin-email", "admin@example.com", "--json"], log, environment)
        assert process.stdout is not None
        with process.stdout as printed:
            document = printed.read()
        assert process.wait() == 0, log.read_text()
    return str(json.loads(document)["admin_token"])


@dataclass
class Service:
    """One service: its state directory, its processes and a client with the administrator's token."""

    state: Path
    environment: Mapping[str, str]
    token: str
    http: httpx.Client
    api: Process
    workers: list[Process] = field(default_factory=list)
    ids: dict[str, int] = field(default_factory=dict)

    @classmethod
    @contextmanager
    def start(
        cls, state: Path, *, worker: bool = True, settings: Mapping[str, str] | None = None
    ) -> Iterator["Service"]:
        """Initialise a state directory and start the API, and a worker unless told not to."""
        port = free_port()
        environment = {
            "JOTUNHEIM_STATE_DIR": str(state),
            "JOTUNHEIM_LISTEN": f"127.0.0.1:{port}",
            "JOTUNHEIM_VMID_FIRST": str(next(_FIRST_VMIDS)),
            **QUICK,
            **(settings or {}),
        }
        if _OF_THE_STORE & environment.keys():
            token = _initialise(environment)
        else:
            shutil.copytree(_initialised()[0].name, state, dirs_exist_ok=True)
            token = _initialised()[1]
        log = state / "serve.log"
        api = start_jotunheim(["serve"], log, environment)
        client = plain_http.Client(
            base_url=f"http://127.0.0.1:{port}/api/v1",
            headers={"Authorization": f"Bearer {token}"},
            timeout=30,
        )
        service = cls(state, environment, token, client, api)
        try:
            wait_for(lambda: service.is_ready() or api.poll() is not None, "the API")
            assert api.poll() is None, log.read_text()
            if worker:
                service.start_worker()
            yield service
        finally:
            client.close()
            for process in service.workers:
                end(process, state / "worker.log")
            end(service.api, log)

    def complaints(self) -> Iterator[tuple[str, str]]:
        """What each of its logs says besides INFO, the last of it, with a heading: for reports of failed tests."""
        for log in (self.state / "serve.log", self.state / "worker.log"):
            lines = log.read_text().splitlines() if log.exists() else []
            said = [line for line in lines if " INFO " not in line]
            if said:
                yield f"{log.name} of {self.state.name}", "\n".join(said[-SHOWN_LINES:])

    def is_ready(self) -> bool:
        """Whether the API says that it can serve."""
        try:
            return plain_http.get(str(self.http.base_url).replace("/api/v1/", "/readyz")).status_code == 200
        except httpx.TransportError:
            return False

    def start_worker(self, **settings: str) -> Process:
        """Start a worker; it ends with the service."""
        process = start_jotunheim(["worker"], self.state / "worker.log", {**self.environment, **settings})
        self.workers.append(process)
        return process

    def kill_api(self) -> None:
        """Kill the API with -9, and start another one on the same address."""
        os.kill(self.api.pid, signal.SIGKILL)
        self.api.wait()
        assert self.api.stdout is not None
        self.api.stdout.close()
        self.api = start_jotunheim(["serve"], self.state / "serve.log", self.environment)
        wait_for(self.is_ready, "the API")

    def kill_worker(self, process: Process) -> None:
        """Kill a worker with -9, as the machine would: without its children."""
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
        self.workers.remove(process)

    def add_infrastructure(self, sandbox: Sandbox, **node: Any) -> None:
        """Add a location, the sandbox's first node, its template and an address pool; ids go to `ids`."""
        self.ids["location"] = self.create("locations", {"name": "Test", "short_code": "test"})["location"][
            "id"
        ]
        self.ids["node"] = self.create("nodes", self.node_spec(sandbox, **node))["node"]["id"]
        template = {"name": "debian", "node_id": self.ids["node"], "vmid": 9000, "default_user": "debian"}
        self.ids["template"] = self.create("templates", template)["template"]["id"]
        pool = {
            "name": "lab",
            "family": "ipv4",
            "first": "10.99.1.10",
            "last": "10.99.1.200",
            "prefix_length": 24,
            "gateway": "10.99.1.1",
            "nameservers": ["10.99.1.2"],
        }
        self.ids["pool"] = self.create("address-pools", pool)["address_pool"]["id"]

    def node_spec(self, sandbox: Sandbox, **changes: Any) -> dict[str, Any]:
        """What adds the sandbox's first node."""
        return {
            "name": sandbox.nodes[0],
            "location_id": self.ids["location"],
            "host": "127.0.0.1",
            "port": sandbox.port,
            "token_id": sandbox.token_id,
            "token_secret": sandbox.token_secret,
            "tls": {"verify": True, "ca_pem": sandbox.ca_pem, "fingerprint": None},
            "vm_storage": "vmstore",
            "backup_storage": "local",
            "iso_storage": "local",
            "bridge": "vmbr0",
            **changes,
        }

    def create(self, what: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """POST below /admin; the answer must be a success."""
        answer = self.http.post(f"/admin/{what}", json=body)
        assert answer.is_success, answer.text
        document: dict[str, Any] = answer.json()
        return document

    def read(self, path: str) -> dict[str, Any]:
        """GET below /admin; the answer must be a success."""
        answer = self.http.get(f"/admin/{path}")
        assert answer.is_success, answer.text
        document: dict[str, Any] = answer.json()
        return document

    def ask(self, path: str, body: Mapping[str, Any] | None = None, method: str = "POST") -> dict[str, Any]:
        """A request below /admin that must be accepted; returns the answer."""
        answer = self.http.request(method, f"/admin/{path}", json=body or {})
        assert answer.is_success, answer.text
        document: dict[str, Any] = answer.json()
        return document

    def refused(
        self, path: str, body: Mapping[str, Any] | None = None, method: str = "POST"
    ) -> tuple[int, Any]:
        """Status and error of a request below /admin that must be refused."""
        answer = self.http.request(method, f"/admin/{path}", json=body or {})
        assert answer.is_error, answer.text
        return answer.status_code, answer.json()["error"]

    def done(self, path: str, body: Mapping[str, Any] | None = None, method: str = "POST") -> dict[str, Any]:
        """The job of a request below /admin, which must succeed."""
        job = self.finished(self.ask(path, body, method)["job"]["id"])
        assert job["status"] == "succeeded", job
        return job

    def server(self, id_: str) -> dict[str, Any]:
        """A server, as it is recorded."""
        found: dict[str, Any] = self.read(f"servers/{id_}")["server"]
        return found

    def create_server(self, name: str, **spec: Any) -> dict[str, Any]:
        """POST a server made from the template; returns the whole answer."""
        return self.create("servers", {"name": name, "template_id": self.ids["template"], **spec})

    def finished(self, job_id: str, *, seconds: float = 40) -> dict[str, Any]:
        """The job, once it is over."""

        def over() -> dict[str, Any] | None:
            job: dict[str, Any] = self.read(f"jobs/{job_id}")["job"]
            return job if job["status"] in ("succeeded", "failed", "cancelled") else None

        return wait_for(over, f"job {job_id}", seconds=seconds, pause=0.1)

    def built(self, name: str, **spec: Any) -> dict[str, Any]:
        """A server that was created and built."""
        created = self.create_server(name, **spec)
        job = self.finished(created["job"]["id"])
        assert job["status"] == "succeeded", job
        server: dict[str, Any] = self.read(f"servers/{created['server']['id']}")["server"]
        return server
