"""MAC addresses: one server each, as the pool of the first address says."""

import ipaddress
from collections.abc import Iterator
from pathlib import Path

import pytest

from jotunheim.exceptions.service import PlacementError
from jotunheim.repositories.peewee import database
from jotunheim.repositories.peewee.accounts import User
from jotunheim.repositories.peewee.addresses import AddressPool
from jotunheim.repositories.peewee.infrastructure import Location, Node, Template
from jotunheim.repositories.peewee.servers import Server
from jotunheim.services.networks import macs
from jotunheim.settings import Settings


@pytest.fixture(autouse=True)
def store(tmp_path: Path) -> Iterator[None]:
    """An empty, migrated SQLite database."""
    database.connect(Settings(state_dir=tmp_path))
    database.migrate()
    yield
    database.database.close()


def _servers(count: int) -> list[Server]:
    user = User.create(email="a@example.com", name="A", role="admin")
    node = Node.create(
        name="n", location=Location.create(name="l", short_code="l"), host="h", port=1, token_id="t", vm_storage="s",
        backup_storage="s", iso_storage="s", bridge="b", memory_overcommit=1, disk_overcommit=1, max_concurrent_clones=1,
    )  # fmt: skip
    template = Template.create(name="t", node=node, vmid=9000, os_family="linux")
    with database.transaction():
        return [
            Server.create(
                vmid=number, name=f"s{number}", hostname="h", owner=user, node=node, template=template, cpu=1, memory_bytes=1
            )
            for number in range(count)
        ]  # fmt: skip


def _pool(family: str, first: str, count: int, mac_prefix: str | None) -> AddressPool:
    pool = AddressPool.create(name=first, family=family, prefix_length=16, mac_prefix=mac_prefix)
    pool.add_addresses(ipaddress.ip_address(first) + offset for offset in range(count))
    return pool


def test_all_that_begin_so_are_given_before_there_are_none() -> None:
    servers = _servers(257)
    pool = _pool("ipv4", "10.0.0.0", 257, "02:00:5E:00:01")
    with database.transaction():
        for server in servers[:256]:
            pool.allocate(server, 1)
            macs.assign(server)
    assert {server.mac for server in Server.select().where(Server.mac.is_null(False))} == {
        f"02:00:5E:00:01:{number:02X}" for number in range(256)
    }
    pool.allocate(servers[256], 1)
    with pytest.raises(PlacementError, match="02:00:5E:00:01"):
        macs.assign(servers[256])
    servers[7].change(mac=None)
    macs.assign(servers[256])
    assert servers[256].mac is not None


def test_the_pool_of_the_first_address_decides() -> None:
    (server,) = _servers(1)
    six = _pool("ipv6", "fd00::1", 1, "06:00:00")
    four = _pool("ipv4", "10.0.0.1", 1, "02:00:00")
    macs.assign(server)
    assert server.mac is None
    six.allocate(server, 1)
    four.allocate(server, 1)
    macs.assign(server)
    assert (server.mac or "").startswith("02:00:00:")


def test_one_that_a_server_has_is_not_taken_again() -> None:
    (server,) = _servers(1)
    server.change(mac="02:00:00:00:00:01")
    with pytest.raises(PlacementError):
        macs.take("02:00:00:00:00:01")
    assert macs.take("02:00:00:00:00:02") == "02:00:00:00:00:02"
