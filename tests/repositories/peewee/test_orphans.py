"""What scans have found, and when a node is due for one."""

import uuid
from contextlib import nullcontext
from datetime import timedelta
from typing import Any

import pytest

from jotunheim.data.actor import Actor
from jotunheim.data.node.orphan import PruneRequest
from jotunheim.data.server.importing import ImportRequest
from jotunheim.data.server.status import Power
from jotunheim.exceptions.service import LockedError
from jotunheim.repositories.peewee.accounts import User
from jotunheim.repositories.peewee.database import now
from jotunheim.repositories.peewee.infrastructure import Location, Node
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.repositories.peewee.node_state import NodeState, NodeStorage
from jotunheim.repositories.peewee.orphans import Orphan, Records, nodes_not_scanned_since, servers_once_known
from jotunheim.repositories.peewee.servers import Server
from jotunheim.repositories.proxmox.configuration import parse
from jotunheim.repositories.proxmox.marked import Lacking, Marked, Volume
from jotunheim.services.nodes import orphans, scans
from jotunheim.services.servers import importing
from jotunheim.services.servers.plans import Manner
from jotunheim.settings import Settings

DAY = timedelta(days=1)


@pytest.fixture
def nodes() -> list[Node]:
    """Two nodes."""
    columns = {
        "location": Location.create(name="l", short_code="l"), "host": "h", "port": 1, "token_id": "t", "vm_storage": "s",
        "backup_storage": "s", "iso_storage": "s", "bridge": "b", "memory_overcommit": 1, "disk_overcommit": 1,
        "max_concurrent_clones": 1,
    }  # fmt: skip
    return [Node.create(name=name, **columns) for name in ("pve1", "pve2")]


def due() -> list[str]:
    """The names of the nodes on which nobody has looked since yesterday."""
    return [node.name for node in nodes_not_scanned_since(now() - DAY)]


def test_a_node_that_is_deleted_keeps_no_other_from_being_scanned(nodes: list[Node]) -> None:
    Job.create(type="node.scan", node=nodes[0], max_attempts=1, requested_by="o", request_id="r")
    assert due() == ["pve2"]
    nodes[0].delete_instance()
    assert due() == ["pve2"]


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"vmid": 1000}, True),
        ({"vmid": 2000, "scratch_vmid": 1000}, True),
        ({"vmid": 2000}, False),
        ({"vmid": 1000, "elsewhere": True}, False),
    ],
)
def test_a_vm_is_ours_when_a_server_has_its_vmid_whatever_its_mark(
    nodes: list[Node], columns: dict[str, Any], expected: bool
) -> None:
    """As an import leaves it until it has marked the VM, and a rebuild the VM that it makes aside."""
    orphan = Orphan.create(node=nodes[0], key="k", kind="vm", vmid=1000, name="v", mark=uuid.uuid4())
    node = nodes[1] if columns.pop("elsewhere", False) else nodes[0]
    Server.create(
        name="s", hostname="s", owner=User.create(email="o@x", name="o", role="client"), node=node, cpu=1,
        memory_bytes=1, **columns,
    )  # fmt: skip
    assert orphans.is_ours(orphan) is expected


@pytest.mark.parametrize(("peers", "found"), [(["pve1", "pve2"], 0), (["pve1"], 1), ([], 1)])
def test_only_a_node_of_the_same_cluster_scans_a_shared_storage_for_others(
    nodes: list[Node], peers: list[str], found: int
) -> None:
    """A host of one cluster may be called like one of another."""
    NodeState.create(node=nodes[0], peers=peers)
    NodeStorage.create(node=nodes[0], name="nfs", type="nfs", shared=True)
    backup = Volume("nfs", "nfs:backup/b", 1000, 1, uuid.uuid4(), protected=False)
    every, shared = frozenset({"pve1", "pve2"}), frozenset({"nfs"})
    told = Marked([], [], [backup], frozenset(), every, shared, Lacking())
    seen = scans.Seen(Records.read(), told)
    assert scans.record(nodes[1], seen, Settings())["found"] == found


def test_a_vm_that_is_being_pruned_is_not_imported(nodes: list[Node]) -> None:
    orphan = Orphan.create(node=nodes[0], key="k", kind="vm", vmid=1000, name="v", mark=uuid.uuid4())
    owner = User.create(email="o@x", name="o", role="client")
    actor = Actor(user_id=owner.id, email="o@x", role="admin", scopes=frozenset(), request_id="r")
    job = orphans.prune(orphan, PruneRequest(), actor, Manner())
    found = importing.Found(parse({"description": f"jotunheim:server={orphan.mark}"}), Power.STOPPED, [])
    for node, outcome in (
        (nodes[1], nullcontext()),
        (nodes[0], pytest.raises(LockedError, match=str(job.id))),
    ):
        wanted = ImportRequest(node_id=node.id, vmid=1000, name="v", force=True, confirm=False)
        with outcome:
            importing.import_server(wanted, found, actor, Manner(check=True))


def test_a_vm_whose_import_came_to_nothing_was_never_ours(nodes: list[Node]) -> None:
    """It may have our mark, and is somebody's."""
    ids = {status: uuid.uuid4() for status in ("failed", "cancelled", "succeeded")}
    for status, id_ in ids.items():
        Job.create(
            type="server.import", status=status, server_uuid=id_, node=nodes[0], max_attempts=1, requested_by="o",
            request_id="r",
        )  # fmt: skip
    assert servers_once_known() == {ids["succeeded"]}
