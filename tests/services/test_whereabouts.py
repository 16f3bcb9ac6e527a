"""Two hosts of one name: whose is the one that a cluster calls so."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jotunheim.repositories.peewee import database
from jotunheim.repositories.peewee.accounts import User
from jotunheim.repositories.peewee.infrastructure import Location, Node, Template
from jotunheim.repositories.peewee.node_state import NodeState, NodeStorage
from jotunheim.repositories.peewee.servers import Server
from jotunheim.services.nodes.whereabouts import Place, follow_one
from jotunheim.services.proxmox import capacity
from jotunheim.settings import Settings


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[list[Node]]:
    """`pve1` says that it is of one cluster with `pve2`; what the `pve2` that we know says is left open."""
    database.connect(Settings(state_dir=tmp_path))
    database.migrate()
    location = Location.create(name="l", short_code="l")
    columns = {
        "location": location, "host": "h", "port": 1, "token_id": "t", "vm_storage": "shared", "backup_storage": "b",
        "iso_storage": "i", "bridge": "v", "memory_overcommit": 1, "disk_overcommit": 1, "max_concurrent_clones": 1,
    }  # fmt: skip
    made = [Node.create(name=name, **columns) for name in ("pve1", "pve2")]
    NodeState.create(node=made[0], peers=["pve1", "pve2"])
    for node in made:
        NodeStorage.create(node=node, name="shared", type="rbd", shared=True, total_bytes=100, used_bytes=0)
    yield made
    database.database.close()


def server_on(node: Node, number: int = 1) -> Server:
    """A server with a disk of 10 bytes."""
    owner = User.get_or_none() or User.create(email="o@example.com", name="o", role="client")
    template = Template.create(name=f"t{number}", node=node, vmid=9000 + number, os_family="linux")
    made: Server = Server.create(
        vmid=100 + number, name=f"s{number}", hostname="h", owner=owner, node=node, template=template, cpu=1,
        memory_bytes=1, disk_bytes=10, status="ready",
    )  # fmt: skip
    return made


@pytest.mark.parametrize(
    ("peers", "by_itself", "follows"),
    [
        (None, False, False),
        (["pve2"], False, False),
        (["pve2", "pve3"], False, False),
        (["pve1", "pve2"], False, True),
        (["pve2"], True, True),
    ],
)
def test_a_record_follows_only_within_its_cluster_unless_the_node_itself_says_so(
    nodes: list[Node], peers: Any, by_itself: bool, follows: bool
) -> None:
    if peers is not None:
        NodeState.create(node=nodes[1], peers=peers)
    server = server_on(nodes[0])
    with database.transaction():
        assert follow_one(server, Place("pve2", server.vmid, by_itself)) is follows
    assert Server.get().node_id == nodes[int(follows)].id


@pytest.mark.parametrize(("peers", "counted"), [(["pve2"], 10), (["pve1", "pve2"], 20)])
def test_a_shared_storage_is_shared_within_its_cluster(nodes: list[Node], peers: Any, counted: int) -> None:
    NodeState.create(node=nodes[1], peers=peers)
    for number, node in enumerate(nodes):
        server_on(node, number)
    assert capacity.rooms([nodes[0]])[nodes[0].id].disk_reserved == counted
