"""VMs as the API shows them: configuration with its digest, status, lists."""

import hashlib
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from jotunheim.sandbox import pve84
from jotunheim.sandbox.call import Call, Routes
from jotunheim.sandbox.drives import disks_of, parse_drive, parse_size
from jotunheim.sandbox.errors import failure
from jotunheim.sandbox.state import Snapshot, Vm

routes = Routes()

MIB = 1024**2
DEFAULT_MEMORY = 512
QEMU = "10.0.2"
MACHINE = "pc-i440fx-10.0+pve0"

SUBDIRS = [
    "config",
    "cloudinit",
    "pending",
    "status",
    "unlink",
    "vncproxy",
    "termproxy",
    "migrate",
    "resize",
    "move",
    "rrd",
    "rrddata",
    "monitor",
    "agent",
    "snapshot",
    "spiceproxy",
    "sendkey",
    "firewall",
    "mtunnel",
    "remote_migrate",
]


def typed(name: str, value: str) -> str | int:
    """A configuration value in its JSON type. Numbers that need not be whole stay strings."""
    return int(value) if pve84.config_type(name) in ("integer", "boolean") else value


def shown(name: str, value: str) -> str | int:
    """A configuration value as the API shows it."""
    return "**********" if name == "cipassword" else typed(name, value)


def text_of(config: Mapping[str, str]) -> str:
    """A configuration as the lines of PVE's file."""
    lines = [
        f"#{quote(line, safe=' -_.,:;()/@+=')}" for line in config.get("description", "").split("\n") if line
    ]
    lines += [f"{name}: {config[name]}" for name in sorted(config) if name not in ("description", "digest")]
    return "\n".join(lines) + "\n" if lines else ""


def digest(vm: Vm) -> str:
    """The SHA-1 of the VM's whole configuration file, which guards against lost updates."""
    parts = [text_of(vm.config), repr(vm.pending), repr(vm.pending_delete)]
    for name, snapshot in sorted(vm.snapshots.items()):
        parts += [f"[{name}]", text_of(snapshot.config), repr((snapshot.created, snapshot.description))]
    return hashlib.sha1("\n".join(parts).encode(), usedforsecurity=False).hexdigest()


def check_digest(vm: Vm, expected: str | None) -> None:
    """Refuse when the configuration is not the one that the caller has read."""
    if expected and expected != digest(vm):
        raise failure("checksum mismatch (file change by other user?)")


def assert_unmodified(vm: Vm, expected: str | None, what: str = "") -> None:
    """As `check_digest`, in the words of those of PVE's methods that share `assert_if_modified`."""
    if expected and expected != digest(vm):
        raise failure(f"{what}detected modified configuration - file changed by other user? Try again.")


def snapshot_of(vm: Vm, name: str) -> Snapshot:
    """A snapshot, or PVE's error."""
    if name not in vm.snapshots:
        raise failure(f"snapshot '{name}' does not exist")
    return vm.snapshots[name]


def snapshot_data(snapshot: Snapshot) -> dict[str, Any]:
    """The configuration in a snapshot as the API shows it."""
    data: dict[str, Any] = {name: shown(name, value) for name, value in snapshot.config.items()}
    data |= {"snaptime": int(snapshot.created), "description": snapshot.description}
    data |= {"parent": snapshot.parent, "vmstate": snapshot.vmstate, "snapstate": snapshot.snapstate}
    return {name: value for name, value in data.items() if value is not None}


def memory_mib(config: Mapping[str, str]) -> int:
    """The memory of a configuration in MiB."""
    text = config.get("memory", str(DEFAULT_MEMORY))
    return int(text.removeprefix("current="))


def cpus(config: Mapping[str, str]) -> int:
    """How many virtual CPUs a configuration gives."""
    total = int(config.get("sockets", "1")) * int(config.get("cores", "1"))
    return min(int(config.get("vcpus", total)), total)


def boot_disk_size(config: Mapping[str, str]) -> int:
    """The size of the first boot disk in bytes, 0 without one."""
    order = config.get("boot", "").removeprefix("order=").split(";")
    disks = disks_of(config)
    for name in [*order, *disks] if config.get("boot", "").startswith("order=") else disks:
        if name in disks and "size" in parse_drive(config[name]):
            return parse_size(parse_drive(config[name])["size"])
    return 0


def agent_enabled(config: Mapping[str, str]) -> bool:
    """Whether the configuration has the guest agent."""
    first = config.get("agent", "0").split(",")[0].removeprefix("enabled=")
    return first in ("1", "yes", "on", "true")


def display_name(vm: Vm) -> str:
    """The VM's name, or PVE's stand-in for it."""
    return vm.config.get("name", f"VM {vm.vmid}")


def uptime(vm: Vm) -> int:
    """Seconds since the VM was started."""
    return int(time.time() - vm.run.started) if vm.run else 0


GROWTH = {"diskread": 4096, "diskwrite": 2048, "netin": 300, "netout": 200}
"""Bytes that a running VM's counters grow by each second."""


def counters(vm: Vm) -> dict[str, int]:
    """What QEMU counts, in bytes: from 0 when it starts, and gone when it ends."""
    if vm.run is None:
        return dict.fromkeys(GROWTH, 0)
    seconds = max(0.0, time.time() - vm.run.started)
    return {name: int(seconds * rate) for name, rate in GROWTH.items()} | vm.run.counted


def summary(vm: Vm, host_cpus: int) -> dict[str, Any]:
    """The keys that the node's list and the status have in common."""
    running = vm.run is not None
    config = vm.run.config if vm.run else vm.config
    memory = memory_mib(config) * MIB
    data: dict[str, Any] = {
        "vmid": vm.vmid,
        "name": display_name(vm),
        "status": "running" if running else "stopped",
        "cpus": min(cpus(config), host_cpus),
        "cpu": 0.012 if running else 0,
        "mem": memory // 3 if running else 0,
        "maxmem": memory,
        "disk": 0,
        "maxdisk": boot_disk_size(vm.config),
        **counters(vm),
        "uptime": uptime(vm),
    }
    if vm.run:
        data["pid"] = vm.run.pid
    if "tags" in vm.config:
        data["tags"] = vm.config["tags"]
    if vm.template:
        data["template"] = 1
    if vm.lock:
        data["lock"] = vm.lock
    if any(f"serial{n}" in vm.config for n in range(4)):
        data["serial"] = 1
    return data


@routes("GET", "/nodes/{node}/qemu")
async def list_vms(call: Call) -> list[dict[str, Any]]:
    """The node's VMs that the sender may see."""
    listed = []
    for vm in call.world.state.vms.values():
        if vm.node == call.node and call.may(f"/vms/{vm.vmid}", "VM.Audit"):
            entry = summary(vm, call.world.state.nodes[vm.node].cpus)
            del entry["diskread"], entry["diskwrite"]
            listed.append(entry)
    return listed


@routes("GET", "/nodes/{node}/qemu/{vmid}")
async def vm_index(_call: Call) -> list[dict[str, str]]:
    """The folders below a VM; PVE lists them whether or not the VM exists."""
    return [{"subdir": name} for name in SUBDIRS]


@routes("GET", "/nodes/{node}/qemu/{vmid}/status")
async def status_index(_call: Call) -> list[dict[str, str]]:
    """The folders below a VM's status."""
    return [{"subdir": n} for n in ("current", "start", "stop", "reset", "shutdown", "suspend", "reboot")]


@routes("GET", "/nodes/{node}/qemu/{vmid}/status/current")
async def current_status(call: Call) -> dict[str, Any]:
    """One VM's status."""
    vm = call.vm()
    data = summary(vm, call.world.state.nodes[vm.node].cpus)
    data["ha"] = {"managed": 0}
    data["qmpstatus"] = "stopped" if not vm.run else "paused" if vm.run.paused else "running"
    if agent_enabled(vm.config):
        data["agent"] = 1
    if "vga" in vm.config:
        data["clipboard"] = None
    if vm.run is None:
        del data["diskread"], data["diskwrite"]
        return data
    memory = data["maxmem"]
    data |= {
        "balloon": memory,
        "ballooninfo": {"actual": memory, "max_mem": memory, "last_update": int(time.time())},
        "blockstat": {name: {"rd_bytes": 0, "wr_bytes": 0} for name in disks_of(vm.run.config)},
        "nics": _nics(vm.vmid, vm.run.config, data),
        "proxmox-support": {"backup-max-workers": True, "query-bitmap-info": True, "pbs-dirty-bitmap": True},
        "running-machine": MACHINE,
        "running-qemu": QEMU,
    }
    return data


def _nics(vmid: int, config: Mapping[str, str], counted: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """What each network device counts: the first one has all the traffic."""
    names = sorted(name[3:] for name in config if name.startswith("net"))
    totals = {name: counted[name] for name in ("netin", "netout")}
    return {f"tap{vmid}i{name}": totals if name == names[0] else dict.fromkeys(totals, 0) for name in names}


@routes("GET", "/nodes/{node}/qemu/{vmid}/config")
async def read_config(call: Call) -> dict[str, Any]:
    """The configuration with pending changes, without them (`current`), or of a snapshot."""
    vm = call.vm()
    if "snapshot" in call.params:
        return snapshot_data(snapshot_of(vm, call.params["snapshot"])) | {"digest": digest(vm)}
    config = dict(vm.config)
    if not call.get("current"):
        config |= vm.pending
        for name in vm.pending_delete:
            config.pop(name, None)
    return {name: shown(name, value) for name, value in config.items()} | {"digest": digest(vm)}


@routes("GET", "/nodes/{node}/qemu/{vmid}/pending")
async def read_pending(call: Call) -> list[dict[str, Any]]:
    """Each option with its current and its pending value."""
    vm = call.vm()
    listed: list[dict[str, Any]] = []
    for name, value in vm.config.items():
        item: dict[str, Any] = {"key": name, "value": shown(name, value)}
        if name in vm.pending:
            item["pending"] = shown(name, vm.pending[name])
        if name in vm.pending_delete:
            item["delete"] = 2 if vm.pending_delete[name] else 1
        listed.append(item)
    listed += [{"key": n, "pending": shown(n, v)} for n, v in vm.pending.items() if n not in vm.config]
    return [*listed, {"key": "digest", "value": digest(vm)}]
