"""Addresses and VMIDs are given out once."""

import ipaddress
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from jotunheim.repositories.peewee.accounts import User
from jotunheim.repositories.peewee.addresses import Address, AddressPool
from jotunheim.repositories.peewee.database import EPOCH, database, now, transaction
from jotunheim.repositories.peewee.infrastructure import Location, Node, Template
from jotunheim.repositories.peewee.overlaps import addresses_between
from jotunheim.repositories.peewee.pool_summaries import PoolSummary, summary
from jotunheim.repositories.peewee.servers import Server
from jotunheim.repositories.peewee.sort_keys import from_sort_key, sort_key
from jotunheim.repositories.peewee.vmids import ForeignVmid, lowest_free_vmid
from tests.support.statements import statements


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


def _pool(name: str, family: str, first: str, count: int, **columns: Any) -> AddressPool:
    pool = AddressPool.create(name=name, family=family, prefix_length=24, **columns)
    start = ipaddress.ip_address(first)
    step = 2 ** (128 - columns.get("delegated_prefix_length", 128))
    pool.add_addresses(start + offset * step for offset in range(count))
    return pool


def _texts(server: Server) -> list[str]:
    return [entry.text for entry in Address.of([server]).get(server.id, [])]


def _end_quarantine() -> None:
    Address.update(free_from=now() - timedelta(seconds=1)).where(Address.free_from > EPOCH).execute()


def test_the_lowest_addresses_go_first_in_the_order_of_numbers(node: Node) -> None:
    pool = _pool("p", "ipv4", "10.0.0.9", 3)
    server = _server(node, 100)
    assert pool.allocate(server, 2) == 2
    assert [entry.address for entry in Address.of([server])[server.id]] == ["10.0.0.9", "10.0.0.10"]
    assert pool.allocate(server, 5) == 1
    assert summary(pool).free == 0


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


def _overlapping(first: str, last: str) -> list[tuple[str, str]]:
    found = addresses_between(ipaddress.ip_address(first), ipaddress.ip_address(last))
    return [(row.pool.name, row.text) for row in found]


def test_overlaps_are_found_in_every_pool(node: Node) -> None:
    _pool("p", "ipv4", "10.0.0.10", 5)
    _pool("q", "ipv4", "10.0.0.20", 5)
    assert _overlapping("10.0.0.14", "10.0.0.20") == [("p", "10.0.0.14"), ("q", "10.0.0.20")]
    assert _overlapping("10.0.0.15", "10.0.0.19") == []


def test_a_delegated_prefix_overlaps_with_all_that_is_in_it(node: Node) -> None:
    _pool("d", "ipv6", "fd00:0:0:4::", 4, delegated_prefix_length=64)
    assert _overlapping("fd00:0:0:5::7", "fd00:0:0:5::9") == [("d", "fd00:0:0:5::/64")]
    assert _overlapping("fd00::", "fd00:0:0:3:ffff:ffff:ffff:ffff") == []
    assert _overlapping("fd00:0:0:7:ffff::", "fd01::") == [("d", "fd00:0:0:7::/64")]
    assert _overlapping("fd00:0:0:8::", "fd01::") == []


def test_an_address_is_in_one_pool(node: Node) -> None:
    _pool("p", "ipv4", "10.0.0.1", 1)
    with pytest.raises(sqlite3.IntegrityError):
        _pool("q", "ipv4", "10.0.0.1", 1)


def test_prefixes_are_given_beside_addresses(node: Node) -> None:
    addresses = _pool("a", "ipv6", "fd01::1", 2)
    prefixes = _pool("d", "ipv6", "fd00::", 2, delegated_prefix_length=56)
    assert AddressPool.for_node(node, "ipv6") == [addresses]
    assert AddressPool.for_node(node, "ipv6_prefixes") == [prefixes]
    server = _server(node, 100)
    addresses.allocate(server, 1)
    prefixes.allocate(server, 2)
    assert _texts(server) == ["fd01::1", "fd00::/56", "fd00:0:0:100::/56"]
    assert Address.delegated_prefixes_of(server) == ["fd00::/56", "fd00:0:0:100::/56"]


def test_what_is_given_back_rests_and_then_goes_last(node: Node) -> None:
    pool = _pool("p", "ipv4", "10.0.0.1", 3, quarantine_seconds=3600)
    before, after = _server(node, 100), _server(node, 101)
    pool.allocate(before, 2)
    Address.release(before)
    assert summary(pool) == PoolSummary("10.0.0.1", "10.0.0.3", total=3, free=1, reserved=0, quarantined=2)
    assert pool.allocate(after, 3) == 1
    assert _texts(after) == ["10.0.0.3"]
    Address.release(after)
    row = Address.in_pool(pool, ipaddress.ip_address("10.0.0.3"))
    assert row is not None
    assert row.quarantined_until is not None
    assert timedelta(minutes=59) < row.quarantined_until - now() <= timedelta(hours=1)
    _end_quarantine()
    assert summary(pool).free == 3
    assert pool.allocate(after, 3) == 3


def test_without_quarantine_the_lowest_address_goes_again_at_once(node: Node) -> None:
    pool = _pool("p", "ipv4", "10.0.0.1", 3)
    before, after = _server(node, 100), _server(node, 101)
    pool.allocate(before, 1)
    Address.release(before)
    pool.allocate(after, 1)
    assert _texts(after) == ["10.0.0.1"]


def test_only_the_last_server_gets_an_address_back_out_of_quarantine(node: Node) -> None:
    pool = _pool("p", "ipv4", "10.0.0.1", 2, quarantine_seconds=3600)
    first, second = _server(node, 100), _server(node, 101)
    pool.allocate(first, 2)
    ids = Address.ids_of(first)
    key = sort_key(ipaddress.ip_address("10.0.0.1"))
    Address.keep_only(first, ids[1:])
    assert Address.take(second, ids) == []
    assert not Address.claim(second, [pool], key)
    assert Address.take(first, ids) == ids
    Address.release(first)
    assert Address.claim(first, [pool], key)
    Address.release(first)
    _end_quarantine()
    assert Address.claim(second, [pool], key)
    Address.release(second)
    assert Address.take(first, ids[:1]) == []
    assert _texts(first) == []


def test_free_addresses_are_found_by_their_index(node: Node) -> None:
    """However many are taken, reserved or in quarantine: an allocation reads no more of them than it takes."""
    pool = _pool("p", "ipv4", "10.0.0.1", 3)
    with statements() as seen:
        pool.allocate(_server(node, 100), 1)
    ((sql, params),) = [each for each in seen if each[0].startswith("UPDATE")]
    plan = [row[3] for row in database.execute_sql(f"EXPLAIN QUERY PLAN {sql}", params)]
    assert any("INDEX address_next (pool_id=? AND free_from<?)" in line for line in plan), plan
    assert not any("SCAN" in line or "TEMP B-TREE" in line for line in plan), plan


def test_the_lowest_free_vmid_skips_ours_and_foreign_ones(node: Node) -> None:
    assert lowest_free_vmid(100, 103) == 100
    _server(node, 100)
    ForeignVmid.note(node, [101, 101])
    assert lowest_free_vmid(100, 103) == 102
    _server(node, 102)
    _server(node, 103)
    assert lowest_free_vmid(100, 103) is None
    assert lowest_free_vmid(50, 60) == 50
