"""Storages through the API: definitions, status, content, removal, uploads."""

import asyncio
import hashlib
import re
import time
from typing import Any

from jotunheim.sandbox.call import Call, Routes
from jotunheim.sandbox.drives import formatting
from jotunheim.sandbox.errors import bad_params, failure
from jotunheim.sandbox.state import Storage, Volume
from jotunheim.sandbox.tasks import Worker
from jotunheim.sandbox.volumes import with_content

routes = Routes()

VISIBLE = ("Datastore.Audit", "Datastore.AllocateSpace")


def _digest(call: Call) -> str:
    text = repr(sorted((s.name, s.path, s.content, s.shared) for s in call.world.state.storages.values()))
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def _definition(call: Call, storage: Storage) -> dict[str, Any]:
    data: dict[str, Any] = {
        "storage": storage.name,
        "type": storage.kind,
        "path": storage.path,
        "content": ",".join(storage.content),
        "digest": _digest(call),
    }
    if storage.shared:
        data["shared"] = 1
    if storage.kind == "nfs":
        data |= {"server": "10.99.0.250", "export": f"/export/{storage.name}"}
    return data


def _seen(call: Call, storage: Storage) -> bool:
    return any(call.may(f"/storage/{storage.name}", privilege) for privilege in VISIBLE)


@routes("GET", "/storage")
async def definitions(call: Call) -> list[dict[str, Any]]:
    """The storage definitions of the cluster."""
    wanted = call.get("type")
    return [
        _definition(call, storage)
        for storage in call.world.state.storages.values()
        if wanted in (None, storage.kind) and _seen(call, storage)
    ]


@routes("GET", "/storage/{storage}")
async def definition(call: Call) -> dict[str, Any]:
    """One storage definition."""
    return _definition(call, call.world.volumes.storage(call.params["storage"]))


def _status(call: Call, storage: Storage) -> dict[str, Any]:
    used = call.world.volumes.used(storage, call.node)
    return {
        "active": 1,
        "avail": max(0, storage.total - used),
        "content": ",".join(storage.content),
        "enabled": 1,
        "shared": int(storage.shared),
        "total": storage.total,
        "type": storage.kind,
        "used": used,
    }


@routes("GET", "/nodes/{node}/storage")
async def list_storages(call: Call) -> list[dict[str, Any]]:
    """The node's storages with their usage."""
    content = set(str(call.get("content", "")).replace(",", " ").split())
    listed = []
    for storage in call.world.state.storages.values():
        if call.get("storage") not in (None, storage.name) or not _seen(call, storage):
            continue
        if content and not content.intersection(storage.content):
            continue
        data = _status(call, storage)
        listed.append(data | {"storage": storage.name, "used_fraction": data["used"] / storage.total})
    return listed


@routes("GET", "/nodes/{node}/storage/{storage}/status")
async def storage_status(call: Call) -> dict[str, Any]:
    """One storage's usage."""
    storage = call.world.state.storages.get(call.params["storage"])
    if storage is None:
        raise bad_params(storage="No such storage.")
    return _status(call, storage)


@routes("GET", "/nodes/{node}/storage/{storage}/content")
async def content(call: Call) -> list[dict[str, Any]]:
    """The volumes on a storage."""
    world = call.world
    storage = world.volumes.storage(call.params["storage"])
    vmid = call.get("vmid")
    source = world.volumes if vmid is None else world.volumes.of_vm(vmid)
    return [
        _listed(volume)
        for volume in with_content(source, call.get("content"), vmid)
        if volume.volid.startswith(f"{storage.name}:") and volume.node in ("", call.node)
    ]


def _listed(volume: Volume) -> dict[str, Any]:
    data: dict[str, Any] = {
        "content": volume.content,
        "ctime": int(volume.ctime),
        "format": volume.format,
        "size": volume.size,
        "volid": volume.volid,
    }
    if volume.vmid is not None:
        data["vmid"] = volume.vmid
    if volume.content == "images":
        parent = volume.parent.partition(":")[2] if volume.parent else None
        data |= {"parent": parent and f"../{parent}", "used": volume.used}
    if volume.content == "backup":
        data["subtype"] = "qemu"
        if volume.notes:
            data["notes"] = volume.notes
        if volume.protected:
            data["protected"] = 1
    return data


def full_volid(call: Call) -> str:
    """The volume of the path, given with or without its storage."""
    name = str(call.params["volume"])
    return name if ":" in name else f"{call.params['storage']}:{name}"


def require_volume_access(call: Call, volume: Volume | None, volid: str) -> None:
    """Owners of the VM may see its volumes; others need the storage's privileges."""
    owner = volume.vmid if volume else None
    if owner is not None and call.may(f"/vms/{owner}", "VM.Config.Disk"):
        return
    storage = volid.partition(":")[0]
    wanted = "Datastore.AllocateSpace" if volid.partition(":")[2].startswith("backup/") else "Datastore.Audit"
    call.require(f"/storage/{storage}", wanted)


@routes("GET", "/nodes/{node}/storage/{storage}/content/{volume}")
async def volume_info(call: Call) -> dict[str, Any]:
    """One volume's path, size and format."""
    volid = full_volid(call)
    call.world.volumes.storage(volid.partition(":")[0])
    volume = call.world.volumes.find(call.node, volid)
    require_volume_access(call, volume, volid)
    if volume is None:
        raise failure(f"volume_size_info on '{volid}' failed - no format")
    data: dict[str, Any] = {
        "format": volume.format if volume.content in ("images", "import") else "raw",
        "path": call.world.volumes.path(volid),
        "size": volume.size,
        "used": volume.used,
    }
    if volume.content == "backup":
        data["protected"] = int(volume.protected)
        if volume.notes:
            data["notes"] = volume.notes
    return data


@routes("PUT", "/nodes/{node}/storage/{storage}/content/{volume}")
async def change_volume(call: Call) -> None:
    """Change a backup's notes or protection."""
    volid = full_volid(call)
    volume = call.world.volumes.find(call.node, volid)
    require_volume_access(call, volume, volid)
    if volume is None:
        raise failure(f"volume '{volid}' does not exist")
    for name in ("notes", "protected"):
        if name in call.params and volume.content != "backup":
            raise failure(f"attribute '{name}' is not supported for {volume.content}")
    if "notes" in call.params:
        volume.notes = call.params["notes"] or None
    if "protected" in call.params:
        volume.protected = bool(call.params["protected"])


@routes("DELETE", "/nodes/{node}/storage/{storage}/content/{volume}")
async def remove_volume(call: Call) -> str | None:
    """Delete a volume. One that is not there is deleted all the same."""
    world, volid = call.world, full_volid(call)
    storage, _, name = volid.partition(":")
    world.volumes.storage(storage)
    owner = _owner(name)
    if not (owner and name.startswith("backup/") and call.may(f"/vms/{owner}", "VM.Backup")):
        call.require(f"/storage/{storage}", "Datastore.AllocateSpace")

    async def work(worker: Worker) -> None:
        volume = world.volumes.find(call.node, volid)
        if volume and volume.protected:
            raise failure(f"cannot remove protected volume '{name}' on '{storage}'")
        if volume and world.volumes.children(volume):
            raise failure(f"base volume '{name}' is still in use by linked cloned")
        await world.sleep("remove_volume")
        if volume:
            world.volumes.remove(volume)
        else:
            worker.say(f"disk image '{world.volumes.path(volid)}' does not exist")
        worker.say(f"Removed volume '{volid}'")

    upid = call.task("imgdel", f"{owner}@{storage}" if owner else storage, work)
    if not call.get("delay"):
        return upid
    return await _within(call, upid, int(call.params["delay"]))


async def _within(call: Call, upid: str, seconds: int) -> str | None:
    """Wait for the task a little; null says that it has ended well."""
    deadline = time.time() + seconds
    while time.time() < deadline:
        task = call.world.tasks.find(upid)
        if task and task.endtime is not None:
            return None if task.exitstatus == "OK" else upid
        await asyncio.sleep(0.01)
    return upid


def _owner(name: str) -> int | None:
    found = re.match(r"backup/vzdump-(?:qemu|lxc)-(\d+)-|(?:\d+/base-[^/]+/)?(\d+)/", name)
    return int(found[1] or found[2]) if found else None


@routes("POST", "/nodes/{node}/storage/{storage}/content")
async def allocate(call: Call) -> str:
    """Allocate an empty disk image."""
    storage = call.world.volumes.image_storage(call.params["storage"])
    vmid, filename, size = int(call.params["vmid"]), str(call.params["filename"]), str(call.params["size"])
    factor = {"M": 1024**2, "G": 1024**3}.get(size[-1:], 1024)
    amount = int(size.rstrip("MG")) * factor
    format_ = call.get("format") or (filename.rpartition(".")[2] if "." in filename else "raw")
    if not re.fullmatch(rf"vm-{vmid}-\S+", filename):
        raise bad_params(filename=f"illegal name '{filename}' - should be 'vm-{vmid}-*'")
    volid = f"{storage.name}:{vmid}/{filename}"
    path = call.world.volumes.path(volid)
    if call.world.volumes.find(call.node, volid):
        raise failure(f"disk image '{path}' already exists")
    if not call.world.volumes.fits(storage, call.node, 200_704):
        raise failure(
            f"unable to create image: {formatting(path, amount, format=format_)} No space left on device"
        )
    call.world.volumes.create(call.node, volid, vmid=vmid, size=amount, used=200_704, format=format_)
    return volid
