"""Address pools as large as they may be: making one, and taking addresses from it."""

import sqlite3
import statistics
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from jotunheim.data.node.spec import MAX_POOL_ADDRESSES, AddressPoolSpec
from jotunheim.data.server.spec import AddressCounts
from jotunheim.repositories.peewee import database
from jotunheim.repositories.peewee.accounts import User
from jotunheim.repositories.peewee.addresses import Address, AddressPool
from jotunheim.repositories.peewee.infrastructure import Location, Node, Template
from jotunheim.repositories.peewee.servers import Server
from jotunheim.services.networks import addresses, pools
from jotunheim.settings import Settings

CREATE_SECONDS = 2.0
ALLOCATE_SECONDS = 0.020
RUNS = 3
SERVERS = 200
RAW = f"{MAX_POOL_ADDRESSES} rows with `executemany`"
LARGE = f"a pool of {MAX_POOL_ADDRESSES - 2}"
SMALL = "a pool of 254"
RESTING = f"a pool of {MAX_POOL_ADDRESSES - 2}, all but 254 in quarantine"

Figures = dict[str, list[float]]


def measure(directory: Path) -> tuple[Figures, Figures]:
    """Seconds of making the largest pools, and of allocations from a large and from a small one, on SQLite.

    Raises:
        SystemExit: it takes longer than it may.
    """
    folder = directory / "pools"
    folder.mkdir()
    database.connect(Settings(state_dir=folder))
    try:
        database.migrate()
        for name in ("large", "small", "resting"):
            _add_node(name)
        made: Figures = {
            RAW: [_timed(_insert, folder / f"raw-{run}.db") for run in range(RUNS)],
            LARGE: [_timed(_create, f"10.{run}.0.0/16", "large") for run in range(RUNS)],
        }
        _create("192.168.0.0/24", "small")
        _create("172.16.0.0/16", "resting")
        _rest("resting")
        taken = {
            SMALL: _allocations("small"),
            LARGE: _allocations("large"),
            RESTING: _allocations("resting"),
        }
    finally:
        database.database.close()
    longest = max(made[LARGE])
    median = max(statistics.median(taken[name]) for name in (LARGE, RESTING))
    if longest > CREATE_SECONDS or median > ALLOCATE_SECONDS:
        raise SystemExit(
            f"Pools are slow: {longest:.1f} s to make one, {1000 * median:.1f} ms an allocation."
        )
    return made, taken


def _timed(work: Callable[..., None], *arguments: object) -> float:
    began = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - began


def _add_node(name: str) -> None:
    location = Location.create(name=name, short_code=name)
    node = Node.create(
        name=name,
        location=location,
        host="127.0.0.1",
        port=8006,
        token_id="root@pam!x",
        vm_storage="local",
        backup_storage="local",
        iso_storage="local",
        bridge="vmbr0",
        memory_overcommit=1,
        disk_overcommit=1,
        max_concurrent_clones=1,
    )
    Template.create(name=name, node=node, vmid=9000, os_family="linux")
    User.create(email=f"{name}@example.com", name=name, role="client")


def _create(prefix: str, node: str) -> None:
    ids = [Node.get(Node.name == node).id]
    pools.create_pool(AddressPoolSpec(name=prefix, family="ipv4", prefix=prefix, node_ids=ids))


def _rest(node: str) -> None:
    """Put all addresses of a node's pool into quarantine, but for the last 254."""
    (pool,) = AddressPool.for_node(Node.get(Node.name == node), "ipv4")
    last = Address.select(Address.id).where(Address.pool == pool).order_by(Address.id.desc()).limit(254)
    others = (Address.pool == pool) & Address.id.not_in(last)
    Address.update(free_from=database.now() + timedelta(days=1)).where(others).execute()


def _allocations(node_name: str) -> list[float]:
    """Seconds of each of many allocations, as a request makes them: in a transaction of their own."""
    node, template = Node.get(Node.name == node_name), Template.get(Template.name == node_name)
    owner = User.get(User.name == node_name)
    seconds = []
    for number in range(SERVERS):
        name = f"{node_name}-{number}"
        with database.transaction():
            server = Server.create(
                vmid=1000 * node.id + number,
                name=name,
                hostname=name,
                owner=owner,
                node=node,
                template=template,
                cpu=1,
                memory_bytes=2**30,
                force_insert=True,
            )
        seconds.append(_timed(_allocate, server, node))
    return seconds


def _allocate(server: Server, node: Node) -> None:
    with database.transaction():
        addresses.allocate(server, node, AddressCounts(ipv4=1))


def _insert(file: Path) -> None:
    """The least that making a pool can cost: its rows, with the same indices, from the driver."""
    rows = [(f"10.0.{n >> 8}.{n & 255}", f"4{n:08x}") for n in range(MAX_POOL_ADDRESSES)]
    with sqlite3.connect(file) as raw:
        raw.execute(
            "CREATE TABLE address (id INTEGER PRIMARY KEY, pool, address, sort_key, server, reserved, free)"
        )
        raw.execute("CREATE UNIQUE INDEX one ON address (sort_key)")
        raw.execute("CREATE INDEX two ON address (pool, sort_key)")
        raw.execute(
            "CREATE INDEX three ON address (pool, free, sort_key) WHERE server IS NULL AND reserved IS NULL"
        )
        raw.executemany("INSERT INTO address (pool, address, sort_key, free) VALUES (1, ?, ?, 0)", rows)
    raw.close()
