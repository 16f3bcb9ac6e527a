"""The plugins' own functions against the sandbox, in this process: for a death at every single request."""

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from jotunheim.repositories.proxmox import Endpoint, ProxmoxClient, TlsPolicy
from jotunheim.repositories.proxmox.tasks import Note
from tests.collection.conftest import COLLECTIONS
from tests.playbooks.pve_playbooks import Sandbox

assert COLLECTIONS.is_dir()  # importing its conftest made the collection importable

from ansible_collections.jotunheim.pve.plugins.plugin_utils.target import Target  # noqa: E402
from ansible_collections.jotunheim.pve.plugins.plugin_utils.vm import Vm  # noqa: E402

UUID = "00000000-0000-0000-0000-000000000001"
MARK = f"jotunheim:server={UUID}"


class Killed(BaseException):
    """Stands for `kill -9`: nothing in the plugins may catch it."""


class Journal:
    """The job's memory, which outlives the death of a worker."""

    def __init__(self) -> None:
        self.notes: dict[str, str] = {}
        self.plans: list[tuple[str, Note]] = []

    @contextmanager
    def changing(self) -> Iterator[None]:
        yield

    def remember(self, operation: str, upid: str) -> None:
        self.notes[operation] = upid

    def recall(self, operation: str) -> str | None:
        return self.notes.get(operation)

    def note(self, about: str, things: Sequence[str]) -> None:
        self.plans.append((about, (time.time(), list(things))))

    def noted(self, about: str) -> list[Note]:
        return [note for name, note in self.plans if name == about]


@dataclass
class Death:
    """Dies at the N-th request that changes something: before it is sent, or before its answer is read."""

    number: int = 0
    after: bool = False
    seen: list[str] = field(default_factory=list)

    def strike(self) -> bool:
        """Whether the request that was seen last is the one."""
        return len(self.seen) == self.number


@dataclass
class Trouble(Death):
    """Nobody dies: the node's trouble, a fault of the sandbox, strikes the N-th changing request."""

    sandbox: Sandbox | None = None
    fault: Mapping[str, Any] = field(default_factory=dict)

    def strike(self) -> bool:
        """Arm the fault for the request that was seen last, if it is the one."""
        if self.sandbox is not None and super().strike():
            method, path = self.seen[-1].split()
            self.sandbox.fault(method=method, path=f"^/{re.escape(path)}$", **self.fault)
        return False


class MortalClient(ProxmoxClient):
    """A client that dies as told."""

    def __init__(self, endpoint: Endpoint, journal: Journal | None, death: Death) -> None:
        super().__init__(endpoint, journal)
        self._death = death

    def _request(self, method: Any, path: str, params: Mapping[str, Any]) -> Any:
        if method == "GET":
            return super()._request(method, path, params)
        self._death.seen.append(f"{method} {path}")
        dies = self._death.strike()
        if dies and not self._death.after:
            raise Killed
        answer = super()._request(method, path, params)
        if dies:
            raise Killed
        return answer


class Plugins:
    """Opens VMs of the sandbox as the plugins see them."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        ready = sandbox.ready
        self.endpoint = Endpoint(
            sandbox.host,
            ready["token_id"],
            ready["token_secret"],
            port=sandbox.port,
            tls=TlsPolicy(fingerprint=ready["fingerprint"]),
        )

    def vm(self, journal: Journal | None = None, death: Death | None = None, vmid: int = 1101) -> Vm:
        target = Target(self.endpoint, "pve1", vmid, UUID)
        return Vm(MortalClient(self.endpoint, journal, death or Death()), target)

    def deaths(self, work: Callable[[Vm], Any], *, journaled: bool = True) -> Iterator[str]:
        """Let `work` die at each of its changing requests, before and after it, and do it again.

        Yields after each, for the caller to compare; the state of the sandbox is then set back.
        """
        initial = self.sandbox.control("GET", "/state")
        number = 0
        while True:
            number += 1
            for after in (False, True):
                death, journal = Death(number, after), Journal() if journaled else None
                try:
                    work(self.vm(journal, death))
                except Killed:
                    work(self.vm(journal))
                    yield f"{'after' if after else 'before'} {death.seen[-1]}"
                    self.settle()
                    self.sandbox.control("PUT", "/state", **initial)
                else:
                    self.settle()
                    self.sandbox.control("PUT", "/state", **initial)
                    return

    def settle(self) -> None:
        """Wait for the end of all tasks."""
        while self.sandbox.control("GET", "/settings")["running_tasks"]:
            pass

    def volumes(self) -> dict[str, Any]:
        """All volumes of all storages, by id, without the moment of their making."""
        return {v["volid"]: {**v, "ctime": 0} for v in self.sandbox.control("GET", "/state")["volumes"]}

    def clone(self, vmid: int, description: str, *, start: bool = True, **config: Any) -> None:
        """A VM made from the template."""
        with self.sandbox.client() as pve:
            pve.run(
                *("clone", "POST", "nodes/pve1/qemu/9000/clone"),
                timeout_seconds=10,
                newid=vmid,
                name=f"vm-{vmid}",
                description=description,
            )
            self.sandbox.change(vmid, config=config)
            if start:
                pve.run("start", "POST", f"nodes/pve1/qemu/{vmid}/status/start", timeout_seconds=10)

    def run(self, method: Any, path: str, **params: Any) -> None:
        """A request with its task, by someone else."""
        with self.sandbox.client() as pve:
            pve.run("other", method, path, timeout_seconds=10, **params)
