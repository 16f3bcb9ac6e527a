"""Storages through the API: definitions, status, content, removal, uploads."""

import asyncio
import hashlib
import re
import time
from typing import Any

from jotunheim.sandbox import pbs
from jotunheim.sandbox.call import Call, Routes
from jotunheim.sandbox.drives import TOO_LARGE, formatting
from jotunheim.sandbox.errors import ApiError, bad_params, failure
from jotunheim.sandbox.protection import protected_limit, refuse_more_protected
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
        "content": ",".join(storage.content),
        "digest": _digest(call),
    }
    if storage.path:
        data["path"] = storage.path
    if storage.shared:
        data["shared"] = 1
    if storage.kind == "nfs":
        data |= {"server": "10.99.0.250", "export": f"/export/{storage.name}"}
    if storage.pbs:
        data |= {"server": pbs.SERVER, "datastore": storage.name, "username": pbs.USER}
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
    """The volumes on a storage that the sender may read."""
    world = call.world
    storage = world.volumes.storage(call.params["storage"])
    vmid = call.get("vmid")
    source = world.volumes if vmid is None else world.volumes.of_vm(vmid)
    return [
        _listed(volume)
        for volume in with_content(source, call.get("content"), vmid)
        if volume.volid.startswith(f"{storage.name}:")
        and volume.node in ("", call.node)
        and _may_access(call, volume.volid)
    ]


def _may_access(call: Call, volid: str) -> bool:
    try:
        require_volume_access(call, volid)
    except ApiError:
        return False
    return True


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
        if volume.notes:  # the list has their first line, on either kind of storage
            data["notes"] = volume.notes.split("\n")[0]
        if volume.protected:
            data["protected"] = 1
    return data


def full_volid(call: Call) -> str:
    """The volume of the path, given with or without its storage."""
    name, storage = str(call.params["volume"]), str(call.params["storage"])
    named, colon, rest = name.partition(":")
    if not colon:
        return f"{storage}:{name}"
    if not rest:
        raise bad_params(volume=f"unable to parse volume ID '{name}'\n")
    if named != storage:
        raise bad_params(volume=f"storage ID mismatch ({named} != {storage})\n")
    return name


def require_volume_access(call: Call, volid: str) -> None:
    """PVE's `check_volume_access`: images and backups need a right on their VM as well as on the storage."""
    content, owner = call.world.volumes.parse(volid)
    path = f"/storage/{volid.partition(':')[0]}"
    if call.may(path, "Datastore.Allocate"):
        return
    if content in ("iso", "vztmpl", "import"):
        call.require(path, "Datastore.AllocateSpace", "Datastore.Audit", any_of=True)
    elif content == "backup" and owner:
        call.require(path, "Datastore.AllocateSpace")
        call.require(f"/vms/{owner}", "VM.Backup")
    elif content in ("images", "rootdir") and owner:
        call.require(path, "Datastore.Audit")
        call.require(f"/vms/{owner}", "VM.Config.Disk")
    else:
        raise failure(f"missing privileges to access {volid}")


@routes("GET", "/nodes/{node}/storage/{storage}/content/{volume}")
async def volume_info(call: Call) -> dict[str, Any]:
    """One volume's path, size and format."""
    volid = full_volid(call)
    storage = call.world.volumes.storage(volid.partition(":")[0])
    require_volume_access(call, volid)
    volume = call.world.volumes.find(call.node, volid)
    if volume is None:
        no_format = failure(f"volume_size_info on '{volid}' failed - no format")
        raise pbs.missing(volid) if storage.pbs else no_format
    data: dict[str, Any] = {
        "format": volume.format if storage.pbs or volume.content in ("images", "import") else "raw",
        "path": call.world.volumes.path(volid),
        "size": volume.virtual_size or volume.size,
        "used": volume.size if storage.pbs else volume.used,
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
    require_volume_access(call, volid)
    volume = call.world.volumes.find(call.node, volid)
    if volume is None:
        on_pbs = call.world.volumes.storage(volid.partition(":")[0]).pbs
        raise pbs.missing(volid) if on_pbs else failure(f"volume '{volid}' does not exist")
    for name in ("notes", "protected"):
        if name in call.params and volume.content != "backup":
            raise failure(f"attribute '{name}' is not supported for {volume.content}")
    if "notes" in call.params:
        volume.notes = call.params["notes"] or None
    if call.get("protected") and not volume.protected and volume.vmid:
        name = volid.partition(":")[0]
        refuse_more_protected(call.world, name, call.node, volume.vmid, protected_limit(call, name))
    if "protected" in call.params:
        volume.protected = bool(call.params["protected"])


@routes("DELETE", "/nodes/{node}/storage/{storage}/content/{volume}")
async def remove_volume(call: Call) -> str | None:
    """Delete a volume. One that is not there is deleted all the same, but not on a Proxmox Backup Server."""
    world, volid = call.world, full_volid(call)
    storage, _, name = volid.partition(":")
    on_pbs = world.volumes.storage(storage).pbs
    content, owner = world.volumes.parse(volid)
    if content == "backup" and owner:
        call.require(f"/storage/{storage}", "Datastore.AllocateSpace")
        call.require(f"/vms/{owner}", "VM.Backup")
    else:
        call.require(f"/storage/{storage}", "Datastore.Allocate")

    async def work(worker: Worker) -> None:
        volume = world.volumes.find(call.node, volid)
        if volume and volume.protected:
            directory = failure(f"cannot remove protected volume '{name}' on '{storage}'")
            raise pbs.client_failed("cannot remove protected snapshot") if on_pbs else directory
        if volume is None and on_pbs:
            raise pbs.not_removed(volid)
        if volume and world.volumes.children(volume):
            raise failure(f"base volume '{name}' is still in use by linked clones")
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
    """Wait for the task a little; null says that it has ended well, and its failure is the request's."""
    deadline = time.time() + seconds
    while time.time() < deadline:
        task = call.world.tasks.find(upid)
        if task and task.endtime is not None:
            if task.exitstatus != "OK":
                raise failure(str(task.exitstatus))
            return None
        await asyncio.sleep(0.01)
    return upid


@routes("POST", "/nodes/{node}/storage/{storage}/content")
async def allocate(call: Call) -> str:
    """Allocate an empty disk image."""
    storage = call.world.volumes.image_storage(call.params["storage"])
    vmid, filename, size = int(call.params["vmid"]), str(call.params["filename"]), str(call.params["size"])
    factor = {"M": 1024**2, "G": 1024**3}.get(size[-1:], 1024)
    amount = int(min(float(size.rstrip("MG")) * factor, TOO_LARGE))
    if amount >= TOO_LARGE:
        raise failure("unable to create image: qemu-img: Image size must be less than 8 EiB!")
    ending = filename.rpartition(".")[2]
    format_ = call.get("format") or (ending if ending in ("raw", "qcow2", "vmdk") else "raw")
    if ending in ("raw", "qcow2", "vmdk") and format_ != ending:
        raise bad_params(format=f"different storage formats ({format_} != {ending})")
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
