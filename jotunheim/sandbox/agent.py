"""The guest agent's questions, and what a pretended guest answers.

With `--guests none` a guest is a clock: some time after the start its agent answers what can be answered
from the VM's configuration. With `--guests process` the guest is asked where the answer is its own. What needs
a real guest (running programs, files, passwords) is in `guest_agent`.
"""

import time
from collections.abc import Callable
from typing import Any

from jotunheim.sandbox.agent_calls import answering, ask, guest_of
from jotunheim.sandbox.call import Call, Handler, Routes
from jotunheim.sandbox.errors import ApiError, bad_params
from jotunheim.sandbox.interfaces import LOOPBACK, devices, no_traffic
from jotunheim.sandbox.state import Run
from jotunheim.sandbox.vms import display_name

routes = Routes()

VERSION = "7.2.22"
KERNEL = "6.1.0-41-amd64"
COMMANDS = [
    "fsfreeze-freeze",
    "fsfreeze-status",
    "fsfreeze-thaw",
    "fstrim",
    "get-fsinfo",
    "get-host-name",
    "get-memory-block-info",
    "get-memory-blocks",
    "get-osinfo",
    "get-time",
    "get-timezone",
    "get-users",
    "get-vcpus",
    "info",
    "network-get-interfaces",
    "ping",
    "shutdown",
    "suspend-disk",
    "suspend-hybrid",
    "suspend-ram",
]


def _os_info(_call: Call, _run: Run) -> Any:
    return {
        "id": "debian",
        "kernel-release": KERNEL,
        "kernel-version": "#1 SMP PREEMPT_DYNAMIC Debian 6.1.158-1",
        "machine": "x86_64",
        "name": "Debian GNU/Linux",
        "pretty-name": "Debian GNU/Linux 12 (bookworm)",
        "version": "12 (bookworm)",
        "version-id": "12",
    }


def _info(_call: Call, _run: Run) -> Any:
    names = [f"guest-{name}" for name in COMMANDS]
    return {
        "supported_commands": [{"enabled": True, "name": name, "success-response": True} for name in names],
        "version": VERSION,
    }


def _host_name(call: Call, run: Run) -> Any:
    return {"host-name": run.config.get("name", display_name(call.vm()))}


def _interfaces(call: Call, run: Run) -> Any:
    """The loopback interface and one per network device; addresses as cloud-init would set them."""
    guest = guest_of(call)
    reached = guest.door.host if guest and guest.door else None
    return [device | {"statistics": no_traffic()} for device in (LOOPBACK, *devices(run.config, reached))]


ANSWERS: dict[str, Callable[[Call, Run], Any]] = {
    "get-host-name": _host_name,
    "get-osinfo": _os_info,
    "get-time": lambda _call, _run: time.time_ns(),
    "get-timezone": lambda _call, _run: {"offset": 0, "zone": "UTC"},
    "get-users": lambda _call, _run: [],
    "info": _info,
    "network-get-interfaces": _interfaces,
    "ping": lambda _call, _run: {},
    "fsfreeze-status": lambda _call, _run: "thawed",
    "fsfreeze-freeze": lambda _call, _run: 1,
    "fsfreeze-thaw": lambda _call, _run: 1,
    "fstrim": lambda _call, _run: {"paths": [{"minimum": 0, "path": "/", "trimmed": 0}]},
}
"""What a pretended guest can answer, by the agent's command."""

FROM_GUEST = ("get-host-name", "get-osinfo", "get-users", "network-get-interfaces")
"""What a real guest answers itself."""


async def _answer(call: Call, command: str) -> Any:
    run = await answering(call)
    guest = guest_of(call)
    if guest and command in FROM_GUEST and (guest.has_devices or command != "network-get-interfaces"):
        answer, _ = await ask(call, command)
        return answer["result"]
    return ANSWERS[command](call, run)


WITH_POST = ("ping", "fsfreeze-status", "fsfreeze-freeze", "fsfreeze-thaw", "fstrim")


def _handler(command: str) -> Handler:
    async def ask(call: Call) -> dict[str, Any]:
        return {"result": await _answer(call, command)}

    return ask


for _command in ANSWERS:
    _method = "POST" if _command in WITH_POST else "GET"
    routes(_method, f"/nodes/{{node}}/qemu/{{vmid}}/agent/{_command}")(_handler(_command))


@routes("POST", "/nodes/{node}/qemu/{vmid}/agent")
async def any_command(call: Call) -> dict[str, Any]:
    """The old way to give a command: by parameter."""
    command = str(call.params["command"])
    if command not in COMMANDS:
        listed = ", ".join(COMMANDS)
        raise bad_params(command=f"value '{command}' does not have a value in the enumeration '{listed}'")
    if command not in ANSWERS:
        await answering(call)
        raise ApiError(501, f"the sandbox does not model the agent's '{command}'")
    return {"result": await _answer(call, command)}


@routes("GET", "/nodes/{node}/qemu/{vmid}/agent")
async def agent_index(_call: Call) -> list[dict[str, str]]:
    """The agent's commands."""
    extra = ["exec", "exec-status", "file-read", "file-write", "set-user-password"]
    return [{"name": name} for name in sorted([*COMMANDS, *extra])]
