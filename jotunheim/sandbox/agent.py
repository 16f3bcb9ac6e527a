"""The guest agent of a pretended guest.

With `--guests none` a guest is a clock: some time after the start its agent answers what can be answered
from the VM's configuration. What would need a real guest (running programs, files, passwords) is not
modelled and answers 501.
"""

import ipaddress
import time
from collections.abc import Callable, Mapping
from typing import Any

from jotunheim.sandbox.call import Call, Handler, Routes
from jotunheim.sandbox.configvalues import parse_net
from jotunheim.sandbox.drives import parse_drive
from jotunheim.sandbox.errors import ApiError, bad_params, failure
from jotunheim.sandbox.state import Run
from jotunheim.sandbox.vms import agent_enabled, display_name

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


async def _answering(call: Call) -> Run:
    """The running VM whose agent answers, or PVE's error in PVE's order of checks."""
    vm = call.vm()
    if vm.run is None:
        raise failure(f"VM {vm.vmid} is not running")
    if not agent_enabled(vm.run.config):
        raise failure("No QEMU guest agent configured")
    if vm.run.paused or time.time() < vm.run.agent_at:
        await call.world.sleep("agent_silence")
        raise failure("QEMU guest agent is not running")
    return vm.run


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


def _statistics() -> dict[str, int]:
    names = [f"{way}-{what}" for way in ("rx", "tx") for what in ("bytes", "dropped", "errs", "packets")]
    return dict.fromkeys(names, 0)


def _interfaces(_call: Call, run: Run) -> Any:
    """The loopback interface and one per network device; addresses as cloud-init would set them."""
    found = [
        {
            "hardware-address": "00:00:00:00:00:00",
            "ip-addresses": [
                {"ip-address": "127.0.0.1", "ip-address-type": "ipv4", "prefix": 8},
                {"ip-address": "::1", "ip-address-type": "ipv6", "prefix": 128},
            ],
            "name": "lo",
            "statistics": _statistics(),
        }
    ]
    for key in sorted(k for k in run.config if k.startswith("net") and k[3:].isdigit()):
        mac = parse_net(run.config[key])["macaddr"].lower()
        addresses = _addresses(parse_drive(run.config.get(f"ipconfig{key[3:]}", "")), mac)
        found.append(
            {
                "hardware-address": mac,
                "ip-addresses": addresses,
                "name": f"eth{key[3:]}",
                "statistics": _statistics(),
            }
        )
    return found


def _addresses(config: Mapping[str, str], mac: str) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = []
    for key, kind in (("ip", "ipv4"), ("ip6", "ipv6")):
        if "/" in config.get(key, ""):
            interface = ipaddress.ip_interface(config[key])
            listed.append(
                {
                    "ip-address": str(interface.ip),
                    "ip-address-type": kind,
                    "prefix": interface.network.prefixlen,
                }
            )
    octets = [int(part, 16) for part in mac.split(":")]
    octets[0] ^= 2
    host = bytes([*octets[:3], 0xFF, 0xFE, *octets[3:]])
    link_local = ipaddress.IPv6Address(b"\xfe\x80" + bytes(6) + host)
    listed.append({"ip-address": str(link_local), "ip-address-type": "ipv6", "prefix": 64})
    return listed


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

WITH_POST = ("ping", "fsfreeze-status", "fsfreeze-freeze", "fsfreeze-thaw", "fstrim")


def _handler(command: str) -> Handler:
    async def ask(call: Call) -> dict[str, Any]:
        run = await _answering(call)
        return {"result": ANSWERS[command](call, run)}

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
    run = await _answering(call)
    if command not in ANSWERS:
        raise ApiError(501, f"the sandbox does not model the agent's '{command}' without guests")
    return {"result": ANSWERS[command](call, run)}


@routes("GET", "/nodes/{node}/qemu/{vmid}/agent")
async def agent_index(_call: Call) -> list[dict[str, str]]:
    """The agent's commands."""
    extra = ["exec", "exec-status", "file-read", "file-write", "set-user-password"]
    return [{"name": name} for name in sorted([*COMMANDS, *extra])]


def _needs_guest(command: str) -> Handler:
    async def refuse(call: Call) -> None:
        await _answering(call)
        raise ApiError(501, f"the sandbox does not model the agent's '{command}' without guests")

    return refuse


for _method, _command in (
    ("POST", "exec"),
    ("GET", "exec-status"),
    ("GET", "file-read"),
    ("POST", "file-write"),
    ("POST", "set-user-password"),
):
    routes(_method, f"/nodes/{{node}}/qemu/{{vmid}}/agent/{_command}")(_needs_guest(_command))
