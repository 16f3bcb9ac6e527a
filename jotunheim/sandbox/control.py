"""The control endpoint: look into the sandbox and decide what goes wrong. Documented in docs/sandbox.md.

Plain HTTP and JSON on its own loopback port. Everything unknown is refused: a field that is misspelt
must not look as if it had taken effect.
"""

import time
from typing import Any

from aiohttp import web

from jotunheim.sandbox import state as state_module
from jotunheim.sandbox import vms
from jotunheim.sandbox.boot import begun, cut_off
from jotunheim.sandbox.control_bodies import (
    ControlError,
    NodeChange,
    ResetRequest,
    SettingsChange,
    StorageChange,
    VmChange,
    answering,
    json_body,
    parse_body,
)
from jotunheim.sandbox.faults import Fault
from jotunheim.sandbox.initial import initial_state
from jotunheim.sandbox.options import TAKEN
from jotunheim.sandbox.settings import DURATIONS, RATES
from jotunheim.sandbox.state import Run, Vm
from jotunheim.sandbox.world import World

NEVER = 4_102_444_800.0
"""A time that no test lives to see: the guest agent never answers."""


class ControlServer:
    """The control endpoint as an aiohttp application."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.app = web.Application(client_max_size=256 * 1024 * 1024)
        for method, path, handler in (
            ("GET", "/vms", self.list_vms),
            ("GET", "/vms/{vmid}", self.show_vm),
            ("PATCH", "/vms/{vmid}", self.change_vm),
            ("GET", "/state", self.dump),
            ("PUT", "/state", self.load),
            ("POST", "/reset", self.reset),
            ("GET", "/requests", self.list_requests),
            ("DELETE", "/requests", self.clear_requests),
            ("GET", "/faults", self.list_faults),
            ("POST", "/faults", self.add_fault),
            ("DELETE", "/faults", self.clear_faults),
            ("DELETE", "/faults/{id}", self.remove_fault),
            ("GET", "/settings", self.show_settings),
            ("PATCH", "/settings", self.change_settings),
            ("GET", "/storages", self.list_storages),
            ("PATCH", "/storages/{name}", self.change_storage),
            ("PATCH", "/nodes/{name}", self.change_node),
            ("DELETE", "/tokens/{id}", self.revoke_token),
        ):
            self.app.router.add_route(method, path, answering(handler))

    async def list_vms(self, _request: web.Request) -> list[dict[str, Any]]:
        """All VMs as the hypervisor sees them."""
        return [self._describe(vm) for vm in sorted(self.world.state.vms.values(), key=lambda vm: vm.vmid)]

    async def show_vm(self, request: web.Request) -> dict[str, Any]:
        """One VM."""
        return self._describe(self._vm(request))

    def _vm(self, request: web.Request) -> Vm:
        text = request.match_info["vmid"]
        vm = self.world.state.vms.get(int(text)) if text.isdigit() else None
        if vm is None:
            raise ControlError(404, f"no VM {text}")
        return vm

    def _describe(self, vm: Vm) -> dict[str, Any]:
        guests = self.world.guests
        guest = guests.of(vm) if guests else None
        disks = [
            {"volid": v.volid, "size": v.size, "used": v.used, "parent": v.parent, "content": v.content}
            for v in self.world.volumes.of_vm(vm.vmid)
        ]
        return {
            "vmid": vm.vmid,
            "node": vm.node,
            "name": vm.config.get("name"),
            "status": "stopped" if vm.run is None else "paused" if vm.run.paused else "running",
            "lock": vm.lock,
            "template": vm.template,
            "agent_answers": bool(
                vm.run and vm.run.agent_at <= time.time() and (guests is None or guests.ready(vm))
            ),
            "guest": guest.described() if guest else None,
            "passwords": dict(vm.run.passwords) if vm.run else {},
            "uptime": vms.uptime(vm),
            "counters": vms.counters(vm),
            "config": {name: vms.typed(name, value) for name, value in vm.config.items()},
            "pending": dict(vm.pending),
            "pending_delete": list(vm.pending_delete),
            "snapshots": sorted(vm.snapshots),
            "digest": vms.digest(vm),
            "disks": disks,
        }

    async def change_vm(self, request: web.Request) -> dict[str, Any]:
        """Set fields of a VM; a configuration value of null removes the key."""
        vm, change = self._vm(request), await parse_body(request, VmChange)
        for name, value in (change.config or {}).items():
            if value is None:
                vm.config.pop(name, None)
            else:
                vm.config[name] = str(value)
        if "lock" in change.model_fields_set:
            vm.config.pop("lock", None)
            if change.lock:
                vm.config["lock"] = change.lock
        if change.status == "stopped":
            cut_off(self.world, vm)
        elif change.status:
            if vm.run is None:
                vm.run = begun(vm, boots_for=0)
                if self.world.guests:
                    self.world.guests.boot(vm)
            await self._set_paused(vm, vm.run, paused=change.status == "paused")
        if change.agent is not None:
            self._run(vm, "agent").agent_at = time.time() if change.agent else NEVER
        if change.counters is not None:
            self._run(vm, "counters").counted |= change.counters.model_dump(exclude_none=True)
        return self._describe(vm)

    def _run(self, vm: Vm, field: str) -> Run:
        if vm.run is None:
            raise ControlError(409, f"{field}: VM {vm.vmid} is not running")
        return vm.run

    async def _set_paused(self, vm: Vm, run: Run, *, paused: bool) -> None:
        if self.world.guests and run.paused != paused:
            await (self.world.guests.pause if paused else self.world.guests.resume)(vm)
        run.paused = paused

    async def dump(self, _request: web.Request) -> dict[str, Any]:
        """The whole state, with its secrets."""
        return self.world.dump()

    async def load(self, request: web.Request) -> dict[str, Any]:
        """Go on from a dumped state."""
        try:
            loaded = state_module.load(await json_body(request))
        except ValueError as error:
            raise ControlError(400, str(error)) from error
        await self.world.replace(loaded)
        return {"vms": len(loaded.vms)}

    async def reset(self, request: web.Request) -> dict[str, Any]:
        """A new state. Credentials, tickets, settings and names of pbs storages stay; faults and the log go."""
        asked = await parse_body(request, ResetRequest)
        old = self.world.state
        taken = sorted(set(TAKEN).intersection(asked.pbs or []))
        if taken:
            raise ControlError(400, f"pbs: there is a storage '{taken[0]}' already")
        pbs = [storage.name for storage in old.storages.values() if storage.pbs]
        fresh = initial_state(asked.nodes or len(old.nodes), pbs if asked.pbs is None else asked.pbs)
        fresh.users["root@pam"], fresh.ticket_key = old.users["root@pam"], old.ticket_key
        await self.world.replace(fresh)
        self.world.faults.reset()
        self.world.requests.clear()
        return {"vms": len(fresh.vms)}

    async def list_requests(self, request: web.Request) -> dict[str, Any]:
        """The request log after the index `since`."""
        since = request.query.get("since", "0")
        unknown = set(request.query) - {"since"}
        if unknown or not since.isdigit():
            raise ControlError(400, f"{next(iter(unknown), 'since')}: not understood")
        log = self.world.requests
        return {"count": log.count, "requests": log.since(int(since))}

    async def clear_requests(self, _request: web.Request) -> dict[str, Any]:
        """Forget the request log; the next request has index 1."""
        self.world.requests.clear()
        return {"count": 0}

    async def list_faults(self, _request: web.Request) -> list[dict[str, Any]]:
        """The armed faults, how often each has struck, and how many requests it leaves without an answer."""
        return [
            {
                "id": f.id,
                "struck": f.struck,
                "silenced": f.silenced,
                **f.fault.model_dump(exclude_defaults=True),
            }
            for f in self.world.faults.active.values()
        ]

    async def add_fault(self, request: web.Request) -> dict[str, Any]:
        """Arm a fault."""
        return {"id": self.world.faults.add(await parse_body(request, Fault)).id}

    async def clear_faults(self, _request: web.Request) -> dict[str, Any]:
        """Disarm all faults."""
        self.world.faults.active.clear()
        return {}

    async def remove_fault(self, request: web.Request) -> dict[str, Any]:
        """Disarm one fault."""
        text = request.match_info["id"]
        if not (text.isdigit() and self.world.faults.remove(int(text))):
            raise ControlError(404, f"no fault {text}")
        return {}

    async def show_settings(self, _request: web.Request) -> dict[str, Any]:
        """Time scale, durations and rates."""
        settings = self.world.settings
        return {
            "time_scale": settings.time_scale,
            "durations": settings.durations,
            "rates": settings.rates,
            "running_tasks": self.world.tasks.running,
        }

    async def change_settings(self, request: web.Request) -> dict[str, Any]:
        """Change the clock; for operations that begin from now on."""
        change = await parse_body(request, SettingsChange)
        settings = self.world.settings
        for field, given, known in (
            ("durations", change.durations, DURATIONS),
            ("rates", change.rates, RATES),
        ):
            for name, value in (given or {}).items():
                if name not in known:
                    raise ControlError(400, f"{field}.{name}: unknown; known are {', '.join(known)}")
                if value < 0 or (field == "rates" and value == 0):
                    raise ControlError(400, f"{field}.{name}: {value:g} is too small")
        settings.durations |= change.durations or {}
        settings.rates |= change.rates or {}
        if change.time_scale is not None:
            settings.time_scale = change.time_scale
        return await self.show_settings(request)

    async def list_storages(self, _request: web.Request) -> list[dict[str, Any]]:
        """Each storage's capacity and use, by node."""
        world = self.world
        return [
            {
                "storage": storage.name,
                "total": storage.total,
                "other_used": storage.other_used,
                "shared": storage.shared,
                "used": {node: world.volumes.used(storage, node) for node in world.state.nodes},
            }
            for storage in world.state.storages.values()
        ]

    async def change_storage(self, request: web.Request) -> dict[str, Any]:
        """Change a storage's capacity, or fill it up."""
        storage = self.world.state.storages.get(request.match_info["name"])
        if storage is None:
            raise ControlError(404, f"no storage {request.match_info['name']}")
        change = await parse_body(request, StorageChange)
        if change.shared is not None and change.shared != storage.shared:
            if any(volume.volid.startswith(f"{storage.name}:") for volume in self.world.volumes):
                raise ControlError(409, "shared: the storage has volumes")
            storage.shared = change.shared
        if change.total is not None:
            storage.total = change.total
        if change.other_used is not None:
            storage.other_used = change.other_used
        return {"total": storage.total, "other_used": storage.other_used, "shared": storage.shared}

    async def change_node(self, request: web.Request) -> dict[str, Any]:
        """Take a node offline or back, set its bridges and memory."""
        node = self.world.state.nodes.get(request.match_info["name"])
        if node is None:
            raise ControlError(404, f"no node {request.match_info['name']}")
        change = await parse_body(request, NodeChange)
        if change.online is not None:
            node.online = change.online
        if change.bridges is not None:
            node.bridges = change.bridges
        if change.memory is not None:
            node.memory = change.memory
        return {
            "name": node.name,
            "online": node.online,
            "bridges": node.bridges,
            "memory": node.memory,
        }

    async def revoke_token(self, request: web.Request) -> dict[str, Any]:
        """Delete an API token: `user@realm!name`."""
        user, _, name = request.match_info["id"].partition("!")
        found = self.world.state.users.get(user)
        if found is None or found.tokens.pop(name, None) is None:
            raise ControlError(404, f"no token {request.match_info['id']}")
        return {}
