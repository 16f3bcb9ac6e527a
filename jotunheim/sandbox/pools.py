"""Resource pools through the API."""

from typing import Any

from fakepve.formats import split_list

from jotunheim.sandbox.call import Call, Routes
from jotunheim.sandbox.cluster import pool_of, storage_resource, vm_resource
from jotunheim.sandbox.errors import failure
from jotunheim.sandbox.state import Pool
from jotunheim.sandbox.world import World

routes = Routes()


@routes("GET", "/pools")
async def list_pools(call: Call) -> list[dict[str, Any]]:
    """The pools that the sender may see, or one with its members."""
    wanted = call.get("poolid")
    if wanted is not None:
        return [_described(call, wanted) | _members(call, wanted)]
    return [
        _described(call, name) for name in call.world.state.pools if call.may(f"/pool/{name}", "Pool.Audit")
    ]


@routes("GET", "/pools/{poolid}")
async def show_pool(call: Call) -> dict[str, Any]:
    """One pool with its members."""
    name = str(call.params["poolid"])
    return _described(call, name) | _members(call, name)


def _described(call: Call, name: str) -> dict[str, Any]:
    pool = call.world.state.pools.get(name)
    if pool is None:
        raise failure(f"pool '{name}' does not exist")
    return {"poolid": name} | ({"comment": pool.comment} if pool.comment is not None else {})


def _members(call: Call, name: str) -> dict[str, Any]:
    world, pool = call.world, call.world.state.pools[name]
    members = [vm_resource(world, world.state.vms[vmid]) for vmid in pool.vms if vmid in world.state.vms]
    for member in members:
        member.pop("pool", None)
        member.pop("tags", None)
    members += [
        storage_resource(world, world.state.storages[storage], node)
        for storage in pool.storages
        for node in world.state.nodes.values()
    ]
    wanted = call.get("type")
    return {"members": [m for m in members if wanted in (None, m["type"])]}


@routes("POST", "/pools")
async def create_pool(call: Call) -> None:
    """Create a pool."""
    name, pools = str(call.params["poolid"]), call.world.state.pools
    if name in pools:
        raise failure(f"create pool failed: pool '{name}' already exists")
    parent = name.rpartition("/")[0]
    if parent and parent not in pools:
        raise failure(f"create pool failed: parent '{parent}' of pool '{name}' does not exist")
    pools[name] = Pool(call.get("comment"))


@routes("PUT", "/pools")
@routes("PUT", "/pools/{poolid}")
async def change_pool(call: Call) -> None:
    """Change a pool's comment, add members or take them out. A VM that does not exist may be a member."""
    name, what = str(call.params["poolid"]), "update pools failed"
    pool = call.world.state.pools.get(name)
    if pool is None:
        raise failure(f"{what}: pool '{name}' does not exist")
    vms = [int(vmid) for vmid in split_list(str(call.get("vms", "")))]
    storages = split_list(str(call.get("storage", "")))
    for vmid in vms:
        call.require(f"/vms/{vmid}", "VM.Allocate")
    for storage in storages:
        call.require(f"/storage/{storage}", "Datastore.Allocate")
    if call.get("delete"):
        _take_out(pool, vms, storages, what)
    else:
        _put_in(call.world, name, vms, storages, move=bool(call.get("allow-move")), what=what)
    if "comment" in call.params:
        pool.comment = call.params["comment"]


def _take_out(pool: Pool, vms: list[int], storages: list[str], what: str) -> None:
    for vmid in vms:
        if vmid not in pool.vms:
            raise failure(f"{what}: VM {vmid} is not a pool member")
    for storage in storages:
        if storage not in pool.storages:
            raise failure(f"{what}: Storage '{storage}' is not a pool member")
    pool.vms = [vmid for vmid in pool.vms if vmid not in vms]
    pool.storages = [storage for storage in pool.storages if storage not in storages]


def _put_in(world: World, name: str, vms: list[int], storages: list[str], *, move: bool, what: str) -> None:
    pool = world.state.pools[name]
    for vmid in vms:
        other = pool_of(world, vmid)
        if other == name:
            raise failure(f"{what}: VM {vmid} is already a pool member")
        if other and not move:
            raise failure(f"{what}: VM {vmid} belongs already to pool '{other}' and 'allow-move' is not set")
        if other:
            world.state.pools[other].vms.remove(vmid)
    for storage in storages:
        if storage in pool.storages:
            raise failure(f"{what}: Storage '{storage}' is already a pool member")
    pool.vms += vms
    pool.storages += storages


@routes("DELETE", "/pools")
@routes("DELETE", "/pools/{poolid}")
async def delete_pool(call: Call) -> None:
    """Delete an empty pool."""
    name, state, what = str(call.params["poolid"]), call.world.state, "delete pool failed"
    pool = state.pools.get(name)
    if pool is None:
        raise failure(f"{what}: pool '{name}' does not exist")
    child = next((other for other in state.pools if other.startswith(f"{name}/")), None)
    if child:
        raise failure(f"{what}: pool '{name}' is not empty (contains pool '{child}')")
    vmid = next((vmid for vmid in pool.vms if vmid in state.vms), None)
    if vmid is not None:
        raise failure(f"{what}: pool '{name}' is not empty (contains VM {vmid})")
    if pool.storages:
        raise failure(f"{what}: pool '{name}' is not empty (contains storage '{pool.storages[0]}')")
    del state.pools[name]
    state.acl = [entry for entry in state.acl if entry.path != f"/pool/{name}"]
