"""Lost answers, a silent agent, one that starts anew, a guest that boots: a command runs once, or the error says what is known."""

import io
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from jotunheim.exceptions.repository import (
    GuestInterruptedError,
    GuestRefusedError,
    GuestUnreachableError,
    ProxmoxUnauthorizedError,
    VmNotOursError,
)
from jotunheim.repositories.proxmox import Endpoint, ProxmoxClient
from tests.guest_agent.conftest import UUID, VMID, GuestCalls, GuestCommands, Server, Target, Vm

from ansible_collections.jotunheim.pve.plugins.plugin_utils import guest_files  # isort: skip
from ansible_collections.jotunheim.pve.plugins.plugin_utils.guest_calls import (  # isort: skip
    require_agent,
    why_no_commands,
)

ONCE = "echo run >>/srv/runs; sleep 0.2; wc -l </srv/runs; exit 3"
AWAY = {"status": 596, "empty": True}
CUT = {"reset": True}
TIMEOUT = {"status": 500, "message": f"VM {VMID} qmp command 'guest-exec' failed - got timeout"}
NOT_THERE = {"status": 500, "message": "QEMU guest agent is not running"}
FROZEN = {
    "status": 500,
    "message": "Agent error: Command guest-exec has been disabled: the agent is in frozen state",
}
FORGOTTEN = {"status": 500, "message": "Agent error: Invalid parameter 'pid'"}


@pytest.fixture(autouse=True)
def _first(server: Server) -> None:
    server.guest.sh("rm -f /srv/runs")


@pytest.mark.parametrize(
    ("call", "fault"),
    [
        ("exec", AWAY | {"when": "after"}),
        ("exec", AWAY | {"when": "before"}),
        ("exec", CUT | {"when": "after"}),
        ("exec", CUT | {"when": "before"}),
        ("exec", TIMEOUT | {"when": "after"}),
        ("exec", TIMEOUT | {"when": "before"}),
        ("exec", NOT_THERE | {"when": "before", "count": 3}),
        ("exec", FROZEN | {"when": "before", "count": 3}),
        ("exec-status", FROZEN | {"when": "before", "count": 3}),
        ("exec-status", AWAY | {"when": "after", "count": 4}),
        ("exec-status", CUT | {"when": "after", "count": 10}),
        ("exec-status", TIMEOUT | {"when": "after", "count": 3}),
        ("exec-status", NOT_THERE | {"when": "before", "count": 3}),
        ("exec-status", FORGOTTEN | {"when": "before", "count": 2}),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else value,
)
def test_a_command_runs_once_whatever_answer_is_lost(
    server: Server, commands: GuestCommands, call: str, fault: dict[str, Any]
) -> None:
    server.fault(call, **fault)
    assert commands.run(ONCE) == (3, b"1\n", b"")
    assert server.guest.sh("wc -l </srv/runs") == "1\n"


@pytest.mark.parametrize("fault", [AWAY | {"when": "after"}, CUT | {"when": "before"}, NOT_THERE, TIMEOUT])
def test_a_file_arrives_whole_whatever_answer_is_lost(
    server: Server, commands: GuestCommands, fault: dict[str, Any]
) -> None:
    data = os.urandom(2_300_000)
    server.fault("file-write", skip=5, count=3, **fault)
    server.fault("exec", skip=1, **fault)
    guest_files.put(commands, io.BytesIO(data), "/srv/data")
    target = io.BytesIO()
    server.fault("file-read", **fault)
    guest_files.fetch(commands, "/srv/data", target)
    assert target.getvalue() == data


@contextmanager
def silence(server: Server, seconds: float) -> Iterator[None]:
    """The agent is silent for a while."""
    server.change(agent=False)
    timer = threading.Timer(seconds, server.change, kwargs={"agent": True})
    timer.start()
    try:
        yield
    finally:
        timer.join()


def test_a_silent_agent_is_waited_for(server: Server, commands: GuestCommands) -> None:
    with silence(server, 0.7):
        assert commands.run(ONCE).out == b"1\n"


def test_an_agent_that_stays_silent_is_said_so_and_nothing_was_done(server: Server) -> None:
    with (
        silence(server, 1.5),
        pytest.raises(GuestUnreachableError, match="no answer from the guest agent") as raised,
    ):
        server.commands(patience=0.5).run(ONCE)
    assert raised.value.retryable
    assert "qemu-guest-agent" in str(raised.value.hint)
    assert "runs" not in server.guest.sh("ls /srv")


def test_a_command_outlives_the_program_that_the_agent_started(
    server: Server, commands: GuestCommands
) -> None:
    # As systemd ends an agent that starts anew: all in its control group, but not what is in a scope of its own.
    script = "kill -9 $(ps -o ppid= -p $PPID); echo run >>/srv/runs; sleep 0.5; wc -l </srv/runs"
    assert commands.run(script).out == b"1\n"


def test_a_command_that_is_cut_short_is_not_run_again(server: Server, commands: GuestCommands) -> None:
    with pytest.raises(GuestInterruptedError, match="how far it came is not known"):
        commands.run("echo run >>/srv/runs; kill -9 $(ps -o ppid= -p $PPID) $PPID")
    assert server.guest.sh("wc -l </srv/runs") == "1\n"


def test_a_guest_that_boots_meanwhile_does_not_run_the_command_again(
    server: Server, commands: GuestCommands
) -> None:
    with pytest.raises(GuestInterruptedError, match=r"booted anew|how far it came"):
        commands.run("echo run >>/srv/runs; reboot; sleep 30")
    server.guest.wait_up()
    assert server.guest.sh("wc -l </srv/runs") == "1\n"


@pytest.mark.parametrize("works", [True, False])
def test_with_systemd_a_command_runs_out_of_the_agent_s_control_group(
    server: Server, commands: GuestCommands, works: bool
) -> None:
    run = 'while :; do case $1 in --*) shift ;; *) exec "$@" ;; esac; done' if works else "exit 1"
    stand_in = (
        f"#!/bin/sh\\necho \\$* >>/srv/scopes\\n{run}\\n".replace('"', '\\"')
        .replace("$1", "\\$1")
        .replace("$@", "\\$@")
    )
    server.guest.sh(
        f'mkdir -p /run/systemd/system; rm -f /srv/scopes; printf "{stand_in}" >/usr/local/bin/systemd-run;'
        "chmod +x /usr/local/bin/systemd-run"
    )
    try:
        assert commands.run(f"cat; {ONCE}", b"input ") == (3, b"input 1\n", b"")
        assert server.guest.sh("wc -l </srv/scopes; wc -l </srv/runs") == "1\n1\n"
        scope = server.guest.sh("cat /srv/scopes")
        assert scope.startswith("--quiet --scope --collect --description=jotunheim-agent setsid")
        assert "/srv/runs" not in scope
    finally:
        server.guest.sh("rm -r /run/systemd /usr/local/bin/systemd-run")


def test_what_the_guest_does_not_let_its_agent_do_is_said(server: Server, commands: GuestCommands) -> None:
    message = "Agent error: Command guest-exec has been disabled for this instance"
    server.fault("exec", status=500, message=message)
    with pytest.raises(GuestRefusedError, match="has been disabled") as raised:
        commands.run(ONCE)
    assert "qemu-ga" in str(raised.value.hint)


def test_a_vm_that_cannot_have_an_agent_is_said_so(server: Server) -> None:
    vm = server.vm()
    config = vm.owned_config()
    assert why_no_commands(vm, config, 0) == ""
    assert "does not let its agent" in why_no_commands(_closed(vm), config, 0)
    with pytest.raises(GuestUnreachableError, match="Windows"):
        require_agent(vm, config | {"ostype": "win11"})
    with pytest.raises(GuestUnreachableError, match="switched on") as raised:
        require_agent(vm, config | {"agent": "0"})
    assert "pve_config_agent" in str(raised.value.hint)
    assert "switched on" in why_no_commands(vm, config | {"agent": "0"}, 0)
    with silence(server, 0.5):
        assert "does not answer" in why_no_commands(vm, config, 0)


def _closed(vm: Vm) -> Vm:
    """The VM with an agent that may run no programs."""

    class Client(ProxmoxClient):
        def get(self, path: str, /, **params: Any) -> Any:
            if path.endswith("agent/info"):
                return {"result": {"supported_commands": [{"name": "guest-exec", "enabled": False}]}}
            return super().get(path, **params)

    return Vm(Client(vm.client._endpoint), Target(vm.client._endpoint, "pve1", VMID, UUID))


def test_a_stopped_vm_is_said_so_and_a_foreign_one_is_not_talked_to(server: Server) -> None:
    commands = server.commands()
    server.guest.power("stop")
    try:
        with pytest.raises(GuestUnreachableError, match="is not running") as raised:
            commands.run("true")
        assert raised.value.hint == "Start the server."
    finally:
        server.guest.power("start")
        server.guest.wait_up()
    since = server.sandbox.requests_logged()
    with pytest.raises(VmNotOursError):
        Vm(
            ProxmoxClient(server.endpoint), Target(server.endpoint, "pve1", VMID, "0" * 8 + UUID[8:-1] + "2")
        ).owned_config()
    assert [entry["method"] for entry in server.sandbox.request_log(since)] == ["GET"]


def test_a_token_that_is_revoked_in_mid_run_ends_it(server: Server) -> None:
    pve = server.sandbox  # with no more rights than documented
    pve.do("POST", "/access/users", userid="other@pve")
    pve.do("POST", "/access/roles", roleid="GuestAgent", privs="VM.Audit VM.Monitor")
    pve.do("PUT", "/access/acl", path="/vms", roles="GuestAgent", users="other@pve")
    secret = pve.do("POST", "/access/users/other@pve/token/second", privsep=0)["value"]
    endpoint = Endpoint(
        server.endpoint.host, "other@pve!second", secret, port=server.endpoint.port, tls=server.endpoint.tls
    )
    commands = GuestCommands(
        GuestCalls(Vm(ProxmoxClient(endpoint), Target(endpoint, "pve1", VMID, UUID)), 5), 20
    )
    assert commands.run("true").code == 0
    timer = threading.Timer(0.5, server.sandbox.control.delete, args=["/tokens/other@pve!second"])
    timer.start()
    began = time.monotonic()
    with pytest.raises(ProxmoxUnauthorizedError):
        commands.run("sleep 3")
    assert time.monotonic() - began < 15
    timer.join()
