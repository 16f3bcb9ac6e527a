"""Nodes: status, version, time, network, and what a node does not have (containers)."""

import time
from typing import Any

from jotunheim.sandbox.call import Call, Routes
from jotunheim.sandbox.errors import bad_params
from jotunheim.sandbox.state import Node
from jotunheim.sandbox.vms import memory_mib
from jotunheim.sandbox.world import World

routes = Routes()

HOST_MEMORY = 2 * 1024**3
ROOT_TOTAL, ROOT_USED = 100_861_726_720, 9_663_676_416


def memory_used(world: World, node: Node) -> int:
    """The host's own memory and that of its running VMs."""
    guests = sum(
        memory_mib(vm.run.config) for vm in world.state.vms.values() if vm.run and vm.node == node.name
    )
    return min(node.memory, HOST_MEMORY + guests * 1024**2)


def uptime(node: Node) -> int:
    """Seconds since the node was started."""
    return int(time.time() - node.started)


@routes("GET", "/nodes")
async def list_nodes(call: Call) -> list[dict[str, Any]]:
    """All nodes."""
    world = call.world
    listed: list[dict[str, Any]] = []
    for node in world.state.nodes.values():
        entry: dict[str, Any] = {
            "id": f"node/{node.name}",
            "node": node.name,
            "type": "node",
            "status": "online" if node.online else "offline",
            "ssl_fingerprint": world.fingerprint,
        }
        if node.online and call.may(f"/nodes/{node.name}", "Sys.Audit"):
            entry |= {
                "cpu": 0.031,
                "maxcpu": node.cpus,
                "mem": memory_used(world, node),
                "maxmem": node.memory,
                "disk": ROOT_USED,
                "maxdisk": ROOT_TOTAL,
                "uptime": uptime(node),
                "level": "",
            }
        listed.append(entry)
    return listed


@routes("GET", "/nodes/{node}/status")
async def status(call: Call) -> dict[str, Any]:
    """The node's load, memory, CPU and kernel."""
    node = call.world.state.nodes[call.node]
    used = memory_used(call.world, node)
    release = "6.8.12-20-pve"
    return {
        "boot-info": {"mode": "efi", "secureboot": 0},
        "cpu": 0.031,
        "cpuinfo": {
            "cores": node.cpus,
            "cpus": node.cpus,
            "flags": "fpu sse sse2 aes",
            "hvm": "1",
            "mhz": "2400.000",
            "model": "Sandbox CPU",
            "sockets": 1,
            "user_hz": 100,
        },
        "current-kernel": {
            "machine": "x86_64",
            "release": release,
            "sysname": "Linux",
            "version": "#1 SMP PREEMPT_DYNAMIC PMX 6.8.12-20",
        },
        "idle": 0,
        "ksm": {"shared": 0},
        "kversion": f"Linux {release} #1 SMP PREEMPT_DYNAMIC PMX 6.8.12-20",
        "loadavg": ["0.21", "0.18", "0.12"],
        "memory": {
            "free": node.memory - used,
            "total": node.memory,
            "used": used,
            "available": node.memory - used,
        },
        "pveversion": "pve-manager/8.4.21/2606ac850d46da29",
        "rootfs": {
            "avail": ROOT_TOTAL - ROOT_USED,
            "free": ROOT_TOTAL - ROOT_USED,
            "total": ROOT_TOTAL,
            "used": ROOT_USED,
        },
        "swap": {"free": 0, "total": 0, "used": 0},
        "uptime": uptime(node),
        "wait": 0.001,
    }


@routes("GET", "/nodes/{node}/version")
async def version(_call: Call) -> dict[str, str]:
    """The node's version, the same as the API's."""
    return {"release": "8.4", "repoid": "2606ac850d46da29", "version": "8.4.21"}


@routes("GET", "/nodes/{node}/time")
async def node_time(_call: Call) -> dict[str, Any]:
    """The node's clock."""
    now = int(time.time())
    return {"localtime": now, "time": now, "timezone": "UTC"}


@routes("GET", "/nodes/{node}/lxc")
async def containers(_call: Call) -> list[dict[str, Any]]:
    """Containers: the sandbox has none."""
    return []


@routes("GET", "/nodes/{node}/network")
async def network(call: Call) -> list[dict[str, Any]]:
    """The node's network interfaces: its bridges."""
    node = call.world.state.nodes[call.node]
    if call.get("type") not in (None, "bridge", "any_bridge", "any_local_bridge", "include_sdn"):
        return []
    return [_bridge(node, name, first=number == 0) for number, name in enumerate(node.bridges)]


def _bridge(node: Node, name: str, *, first: bool) -> dict[str, Any]:
    data: dict[str, Any] = {
        "active": 1,
        "autostart": 1,
        "bridge_fd": "0",
        "bridge_ports": "",
        "bridge_stp": "off",
        "families": ["inet"],
        "iface": name,
        "method": "static" if first else "manual",
        "method6": "manual",
        "priority": 3,
        "type": "bridge",
    }
    if first:
        data |= {"address": node.ip, "cidr": f"{node.ip}/24", "netmask": "24"}
    return data


@routes("GET", "/nodes/{node}/network/{iface}")
async def interface(call: Call) -> dict[str, Any]:
    """One network interface."""
    node, name = call.world.state.nodes[call.node], str(call.params["iface"])
    if name not in node.bridges:
        raise bad_params(iface="interface does not exist")
    data = _bridge(node, name, first=name == node.bridges[0])
    del data["iface"]
    return data
