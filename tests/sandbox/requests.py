"""Requests to a sandbox in the words of its tests."""

import time
from typing import Any

import httpx

from tests.support.sandbox import Sandbox

VM = "/nodes/pve1/qemu"


class Pve:
    """A sandbox as its tests talk to it."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.control = sandbox.control

    def send(self, method: str, path: str, /, **params: Any) -> httpx.Response:
        """One request with root's token; dashes in parameter names are written as underscores."""
        sent = {name.replace("_", "-"): value for name, value in params.items()}
        if method in ("GET", "DELETE"):
            return self.sandbox.api.request(method, path, params=sent)
        return self.sandbox.api.request(method, path, data=sent)

    def ok(self, method: str, path: str, /, **params: Any) -> Any:
        """The data of a request that must succeed."""
        answer = self.send(method, path, **params)
        assert answer.status_code == 200, (method, path, answer.status_code, answer.text)
        return answer.json()["data"]

    def message(self, method: str, path: str, /, **params: Any) -> tuple[int, str]:
        """Status and message of a request that must fail."""
        answer = self.send(method, path, **params)
        assert answer.status_code >= 400, answer.text
        return answer.status_code, answer.json()["message"].strip()

    def ended(self, upid: str, *, seconds: float = 10) -> str:
        """The exit status of a task, once it is over."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            status = self.ok("GET", f"/nodes/{upid.split(':')[1]}/tasks/{upid}/status")
            if status["status"] == "stopped":
                return str(status["exitstatus"])
            time.sleep(0.01)
        raise AssertionError(f"{upid} did not end")

    def task(self, method: str, path: str, /, **params: Any) -> str:
        """The exit status of the task that a request starts."""
        return self.ended(self.ok(method, path, **params))

    def log(self, upid: str) -> list[str]:
        """The lines of a task's log."""
        lines = self.ok("GET", f"/nodes/{upid.split(':')[1]}/tasks/{upid}/log", limit=0)
        return [str(line["t"]) for line in lines]

    def backups(self, storage: str, vmid: int) -> list[dict[str, Any]]:
        """The backups of a VM on a storage, as they are listed; the oldest first."""
        path = f"/nodes/pve1/storage/{storage}/content"
        found: list[dict[str, Any]] = self.ok("GET", path, content="backup", vmid=vmid)
        return sorted(found, key=lambda backup: int(backup["ctime"]))

    def back_up(self, vmid: int, storage: str, **params: Any) -> str:
        """Back up a VM. Returns the volume id."""
        assert self.task("POST", "/nodes/pve1/vzdump", vmid=vmid, storage=storage, **params) == "OK"
        return str(self.backups(storage, vmid)[-1]["volid"])

    def clone(self, newid: int, **params: Any) -> None:
        """Clone the template and wait."""
        assert self.task("POST", f"{VM}/9000/clone", newid=newid, **params) == "OK"

    def config(self, vmid: int) -> dict[str, Any]:
        """A VM's configuration."""
        found: dict[str, Any] = self.ok("GET", f"{VM}/{vmid}/config")
        return found

    def scale(self, value: float) -> None:
        """Set the time scale."""
        self.control.patch("/settings", json={"time_scale": value}).raise_for_status()

    def fault(self, **fault: Any) -> int:
        """Arm a fault. Returns its number."""
        answer = self.control.post("/faults", json=fault)
        assert answer.status_code == 200, answer.text
        return int(answer.json()["id"])
