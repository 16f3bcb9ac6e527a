"""Servers move as their one table of transitions says, and in no other way."""

from collections.abc import Callable

import pytest

from jotunheim.data.server.status import Power, ServerStatus
from jotunheim.exceptions.model import IllegalTransitionError
from jotunheim.repositories.peewee.accounts import User
from jotunheim.repositories.peewee.infrastructure import Location, Node, Template
from jotunheim.repositories.peewee.servers import TRANSITIONS, Server
from jotunheim.repositories.peewee.vmids import lowest_free_vmid

MOVES: dict[str, tuple[ServerStatus, Callable[[Server], None]]] = {
    "mark_building": (ServerStatus.BUILDING, Server.mark_building),
    "mark_ready": (ServerStatus.READY, lambda server: server.mark_ready(Power.RUNNING, 1)),
    "mark_build_failed": (ServerStatus.BUILD_FAILED, Server.mark_build_failed),
    "mark_rebuilding": (ServerStatus.REBUILDING, Server.mark_rebuilding),
    "mark_rebuild_failed": (ServerStatus.READY, Server.mark_rebuild_failed),
    "mark_deleting": (ServerStatus.DELETING, Server.mark_deleting),
    "mark_delete_failed": (ServerStatus.DELETE_FAILED, Server.mark_delete_failed),
}


def server(status: ServerStatus, vmid: int = 1000, **columns: object) -> Server:
    """A server in a status, with all that it needs."""
    location, _ = Location.get_or_create(short_code="l", defaults={"name": "L"})
    node, _ = Node.get_or_create(
        name="pve1",
        defaults={
            "location": location, "host": "h", "port": 1, "token_id": "t", "vm_storage": "v", "backup_storage": "b",
            "iso_storage": "i", "bridge": "vmbr0", "memory_overcommit": 1, "disk_overcommit": 1,
            "max_concurrent_clones": 1,
        },
    )  # fmt: skip
    template, _ = Template.get_or_create(node=node, vmid=9000, defaults={"name": "t", "os_family": "linux"})
    owner, _ = User.get_or_create(email="a@b", defaults={"name": "a", "role": "admin"})
    made: Server = Server.create(
        vmid=vmid, name=f"s{vmid}", hostname="s", status=status, owner=owner, node=node, template=template, cpu=1,
        memory_bytes=1, **columns,
    )  # fmt: skip
    return made


def test_every_status_has_its_place_in_the_table() -> None:
    assert set(TRANSITIONS) == set(ServerStatus)
    reachable = set().union(*TRANSITIONS.values())
    assert reachable == set(ServerStatus)


@pytest.mark.parametrize("status", ServerStatus)
@pytest.mark.parametrize("move", MOVES)
def test_a_server_moves_only_where_the_table_has_an_arrow(status: ServerStatus, move: str) -> None:
    wanted, method = MOVES[move]
    moved = server(status)
    if wanted is status or wanted in TRANSITIONS[status]:
        method(moved)
        assert Server.get().status == wanted
    else:
        with pytest.raises(IllegalTransitionError):
            method(moved)
        assert Server.get().status == status


def test_a_row_that_moved_meanwhile_is_not_moved_again() -> None:
    server(ServerStatus.READY)
    first, second = Server.get(), Server.get()
    first.mark_deleting()
    with pytest.raises(IllegalTransitionError):
        second.mark_rebuilding()
    assert Server.get().status == ServerStatus.DELETING


def test_a_vmid_for_a_new_disk_is_nobody_elses() -> None:
    server(ServerStatus.REBUILDING, 1000, scratch_vmid=1001)
    server(ServerStatus.READY, 1003)
    assert lowest_free_vmid(1000, 2000) == 1002
    assert Server.vmids_among([1000, 1001, 1002, 1003]) == {1000, 1001, 1003}
