"""Addresses and VMIDs are given out once."""

import ipaddress
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from jotunheim.repositories.peewee.accounts import User
from jotunheim.repositories.peewee.addresses import Address, AddressPool, from_sort_key, sort_key
from jotunheim.repositories.peewee.database import database, transaction
from jotunheim.repositories.peewee.infrastructure import Location, Node, Template
from jotunheim.repositories.peewee.servers import ForeignVmid, Server, lowest_free_vmid


@pytest.fixture
def node() -> Node:
    """A node in a location."""
    location = Location.create(name="L", short_code="l")
    return Node.create(
        name="pve1", location=location, host="h", port=1, token_id="t", vm_storage="s", backup_storage="s",
        iso_storage="s", bridge="b", memory_overcommit=1, disk_overcommit=1, max_concurrent_clones=1,
    )  # fmt: skip


def _server(node: Node, number: int) -> Server:
    user, _ = User.get_or_create(email="a@example.com", defaults={"name": "A", "role": "admin"})
    template, _ = Template.get_or_create(node=node, vmid=9000, defaults={"name": "t", "os_family": "linux"})
    return Server.create(
        name=f"s{number}", hostname="h", vmid=number, owner=user, node=node, template=template, cpu=1,
        memory_bytes=1, disk_bytes=1,
    )  # fmt: skip


def _pool(name: str, family: str, first: str, count: int) -> AddressPool:
    pool = AddressPool.create(name=name, family=family, prefix_length=24)
    start = ipaddress.ip_address(first)
    pool.add_addresses(start + offset for offset in range(count))
    return pool


def test_the_lowest_addresses_go_first_in_the_order_of_numbers(node: Node) -> None:
    pool = _pool("p", "ipv4", "10.0.0.9", 3)
    server = _server(node, 100)
    assert pool.allocate(server, 2) == 2
    assert [entry.address for entry in Address.of([server])[server.id]] == ["10.0.0.9", "10.0.0.10"]
    assert pool.allocate(server, 5) == 1
    assert AddressPool.summaries([pool])[pool.id].free == 0


def test_writers_at_once_share_no_address(node: Node) -> None:
    pool = _pool("p", "ipv4", "10.0.0.1", 40)
    servers = [_server(node, 100 + number) for number in range(20)]
    barrier = threading.Barrier(20)

    def allocate(server: Server) -> int:
        barrier.wait()
        try:
            with transaction():
                return pool.allocate(server, 2)
        finally:
            database.close()

    with ThreadPoolExecutor(20) as executor:
        assert list(executor.map(allocate, servers)) == [2] * 20
    given = [entry.address for entries in Address.of(servers).values() for entry in entries]
    assert len(given) == len(set(given)) == 40


def test_a_pool_serves_the_nodes_it_is_bound_to_or_all(node: Node) -> None:
    everywhere = _pool("everywhere", "ipv4", "10.0.0.1", 1)
    here = _pool("here", "ipv4", "10.0.1.1", 1)
    here.bind_to([node.id])
    other = Node.create(**{**node.__data__, "id": None, "name": "pve2"})
    elsewhere = _pool("elsewhere", "ipv4", "10.0.2.1", 1)
    elsewhere.bind_to([other.id])
    _pool("six", "ipv6", "fd00::1", 1)
    assert AddressPool.for_node(node, "ipv4") == [everywhere, here]


@pytest.mark.parametrize("text", ["0.0.0.0", "10.0.0.9", "255.255.255.255", "::", "fd00::10", "ffff::ffff"])
def test_sort_keys_lead_back_to_their_address(text: str) -> None:
    assert from_sort_key(sort_key(ipaddress.ip_address(text))) == text


def test_overlaps_are_found_across_pools(node: Node) -> None:
    _pool("p", "ipv4", "10.0.0.10", 5)
    found = Address.overlapping(ipaddress.ip_address("10.0.0.14"), ipaddress.ip_address("10.0.0.20"))
    assert found is not None
    assert found.pool.name == "p"
    assert Address.overlapping(ipaddress.ip_address("10.0.0.15"), ipaddress.ip_address("10.0.0.20")) is None


def test_the_lowest_free_vmid_skips_ours_and_foreign_ones(node: Node) -> None:
    assert lowest_free_vmid(100, 103) == 100
    _server(node, 100)
    ForeignVmid.note(node, [101, 101])
    assert lowest_free_vmid(100, 103) == 102
    _server(node, 102)
    _server(node, 103)
    assert lowest_free_vmid(100, 103) is None
    assert lowest_free_vmid(50, 60) == 50
