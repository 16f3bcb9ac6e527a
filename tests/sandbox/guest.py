"""A VM with a real guest, in the words of the tests."""

import time
from collections.abc import Callable
from typing import Any

from tests.sandbox.requests import VM, Pve
from tests.support.processes import wait_for


class GuestVm:
    """A VM of a sandbox that was started with `--guests process`."""

    def __init__(self, pve: Pve, vmid: int) -> None:
        self.pve = pve
        self.vmid = vmid
        self.path = f"{VM}/{vmid}"

    @classmethod
    def started(cls, pve: Pve, vmid: int, **config: Any) -> "GuestVm":
        """Clone the template, configure the clone, boot it and wait for its agent."""
        pve.clone(vmid)
        if config:
            pve.ok("PUT", f"{VM}/{vmid}/config", **config)
        guest = cls(pve, vmid)
        guest.power("start")
        guest.wait_up()
        return guest

    def power(self, action: str, **params: Any) -> None:
        """Start, stop, shutdown, …"""
        assert self.pve.task("POST", f"{self.path}/status/{action}", **params) == "OK"

    def wait_up(self) -> None:
        """Wait until cloud-init is through."""
        self.wait(lambda: (self.control()["guest"] or {}).get("phase") == "ready", "the guest to boot")

    def wait(self, probe: Callable[[], bool], what: str) -> None:
        """Wait until a probe says yes."""
        wait_for(probe, what)

    def control(self) -> dict[str, Any]:
        """The VM on the control endpoint."""
        found: dict[str, Any] = self.pve.control.get(f"/vms/{self.vmid}").json()
        return found

    @property
    def ssh(self) -> dict[str, str | int]:
        """Where sshd is reached."""
        where: dict[str, str | int] = self.control()["guest"]["ssh"]
        return where

    def begin(self, *command: str, **params: Any) -> int:
        """Start a program through the agent. Returns its process id."""
        return int(self.pve.ok("POST", f"{self.path}/agent/exec", command=list(command), **params)["pid"])

    def status(self, pid: int) -> dict[str, Any]:
        """What the agent says about a program."""
        found: dict[str, Any] = self.pve.ok("GET", f"{self.path}/agent/exec-status", pid=pid)
        return found

    def run(self, *command: str, **params: Any) -> dict[str, Any]:
        """Run a program through the agent, to its end."""
        pid = self.begin(*command, **params)
        deadline = time.monotonic() + 20
        while not (status := self.status(pid))["exited"]:
            assert time.monotonic() < deadline, command
            time.sleep(0.01)
        return status

    def sh(self, script: str) -> str:
        """What a shell script prints."""
        status = self.run("/bin/sh", "-c", script)
        return str(status.get("out-data", "")) + str(status.get("err-data", ""))

    def write(self, file: str, content: str, **params: Any) -> None:
        """Write a file through the agent."""
        self.pve.ok("POST", f"{self.path}/agent/file-write", file=file, content=content, **params)

    def read(self, file: str) -> str:
        """A file's content, through the agent."""
        return str(self.pve.ok("GET", f"{self.path}/agent/file-read", file=file)["content"])

    def refused(self, method: str, command: str, /, **params: Any) -> str:
        """The message with which the agent's command is refused."""
        status, message = self.pve.message(method, f"{self.path}/agent/{command}", **params)
        assert status == 500
        return message
