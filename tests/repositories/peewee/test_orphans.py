"""What scans have found, and when a node is due for one."""

from datetime import timedelta

import pytest

from jotunheim.repositories.peewee.accounts import User
from jotunheim.repositories.peewee.database import now
from jotunheim.repositories.peewee.infrastructure import Location, Node
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.repositories.peewee.orphans import Orphan, nodes_not_scanned_since
from jotunheim.repositories.peewee.servers import Server
from jotunheim.services.nodes import orphans

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
