"""The cluster's view: version, next free id, resources, membership."""

import dataclasses
import time
from typing import Any

from jotunheim.sandbox.call import Call, Routes
from jotunheim.sandbox.errors import bad_params
from jotunheim.sandbox.nodes import memory_used, uptime
from jotunheim.sandbox.state import Node, Storage, Vm
from jotunheim.sandbox.vms import summary
from jotunheim.sandbox.world import World

routes = Routes()

VERSION = {"release": "8.4", "repoid": "2606ac850d46da29", "version": "8.4.21"}
FIRST_VMID = 100


@routes("GET", "/version")
async def version(_call: Call) -> dict[str, str]:
    """The version of the API."""
    return VERSION


@routes("GET", "/cluster/nextid")
async def next_id(call: Call) -> str:
    """The lowest free VMID, or whether a given one is free. Nothing is reserved."""
    taken = call.world.state.vms
    wanted = call.get("vmid")
    if wanted is not None:
        if wanted in taken:
            raise bad_params(vmid=f"VM {wanted} already exists")
        return str(wanted)
    vmid = FIRST_VMID
    while vmid in taken:
        vmid += 1
    return str(vmid)


@routes("GET", "/cluster/status")
async def status(call: Call) -> list[dict[str, Any]]:
    """The cluster's nodes."""
    nodes = call.world.state.nodes
    listed: list[dict[str, Any]] = [
        {
            "id": f"node/{node.name}",
            "ip": node.ip,
            "level": "",
            "local": int(number == 1),
            "name": node.name,
            "nodeid": number if len(nodes) > 1 else 0,
            "online": int(node.online),
            "type": "node",
        }
        for number, node in enumerate(nodes.values(), 1)
    ]
    if len(nodes) > 1:
        quorate = sum(node.online for node in nodes.values()) * 2 > len(nodes)
        listed.append(
            {
                "id": "cluster",
                "name": "sandbox",
                "nodes": len(nodes),
                "quorate": int(quorate),
                "type": "cluster",
                "version": len(nodes),
            }
        )
    return listed


@routes("GET", "/cluster/resources")
async def resources(call: Call) -> list[dict[str, Any]]:
    """VMs, nodes and storages that the sender may see."""
    world, kind = call.world, call.get("type")
    listed: list[dict[str, Any]] = []
    if kind in (None, "vm"):
        listed += [
            vm_resource(world, vm)
            for vm in world.state.vms.values()
            if call.may(f"/vms/{vm.vmid}", "VM.Audit")
        ]
    if kind in (None, "node"):
        listed += [
            node_resource(world, node, audit=call.may(f"/nodes/{node.name}", "Sys.Audit"))
            for node in world.state.nodes.values()
        ]
    if kind in (None, "storage"):
        listed += [
            storage_resource(world, storage, node)
            for storage in world.state.storages.values()
            for node in world.state.nodes.values()
            if call.may(f"/storage/{storage.name}", "Datastore.Audit")
        ]
    return listed


def pool_of(world: World, vmid: int) -> str | None:
    """The pool that a VM belongs to."""
    return next((name for name, pool in world.state.pools.items() if vmid in pool.vms), None)


def vm_resource(world: World, vm: Vm) -> dict[str, Any]:
    """A VM as the cluster lists it: as the statistics daemon saw it last, if it has seen it at all."""
    entry: dict[str, Any] = {"id": f"qemu/{vm.vmid}", "type": "qemu", "node": vm.node, "vmid": vm.vmid}
    pool = pool_of(world, vm.vmid)
    if pool:
        entry["pool"] = pool
    entry |= {name: vm.config[name] for name in ("lock", "tags") if name in vm.config}
    seen = last_round(world)
    if vm.created >= seen or not world.state.nodes[vm.node].online:
        return entry | {"status": "unknown"}
    known = vm if vm.run is None or vm.run.started < seen else dataclasses.replace(vm, run=None)
    data = summary(known, world.state.nodes[vm.node].cpus)
    data |= {
        "template": int(vm.template),
        "maxcpu": data.pop("cpus"),
    }
    for name in ("serial", "pid"):
        data.pop(name, None)
    return data | entry


def last_round(world: World) -> float:
    """When the statistics daemon last looked: what happened since, it does not know."""
    interval, now = world.settings.seconds("statistics"), time.time()
    return now // interval * interval if interval else now + 1


def node_resource(world: World, node: Node, *, audit: bool = True) -> dict[str, Any]:
    """A node as the cluster lists it."""
    data: dict[str, Any] = {
        "id": f"node/{node.name}",
        "type": "node",
        "node": node.name,
        "status": "online" if node.online else "offline",
    }
    if not audit or not node.online:
        return data
    return data | node_usage(world, node) | {"level": "", "cgroup-mode": 1}


def node_usage(world: World, node: Node) -> dict[str, Any]:
    """A node's CPU, memory and root file system."""
    return {
        "cpu": 0.031,
        "maxcpu": node.cpus,
        "mem": memory_used(world, node),
        "maxmem": node.memory,
        "disk": 9_663_676_416,
        "maxdisk": 100_861_726_720,
        "uptime": uptime(node),
    }


def storage_resource(world: World, storage: Storage, node: Node) -> dict[str, Any]:
    """A node's storage as the cluster lists it."""
    return {
        "id": f"storage/{node.name}/{storage.name}",
        "type": "storage",
        "node": node.name,
        "storage": storage.name,
        "plugintype": storage.kind,
        "content": ",".join(storage.content),
        "shared": int(storage.shared),
        "status": "available" if node.online else "unknown",
        "disk": world.volumes.used(storage, node.name),
        "maxdisk": storage.total,
    }


@routes("GET", "/cluster/metrics/server")
async def metric_servers(_call: Call) -> list[dict[str, Any]]:
    """External metric servers: none."""
    return []
