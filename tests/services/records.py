"""Rows that tests of services begin with, made in the store and quickly."""

from typing import Any

from jotunheim.repositories.peewee import database
from jotunheim.repositories.peewee.accounts import User
from jotunheim.repositories.peewee.infrastructure import Location, Node
from jotunheim.repositories.peewee.node_state import NodeState
from jotunheim.repositories.peewee.servers import Server
from jotunheim.repositories.peewee.traffic import TrafficMeter

POLICY = [
    {"percent": 80, "action": "notify", "rate_bytes_per_second": None},
    {"percent": 100, "action": "throttle", "rate_bytes_per_second": 5000},
    {"percent": 120, "action": "suspend", "rate_bytes_per_second": None},
]
"""What follows when the servers have used up their traffic."""


def add_node(name: str = "pve1") -> Node:
    """A node that answers."""
    location = Location.get_or_none() or Location.create(name="l", short_code="l")
    made: Node = Node.create(
        name=name, location=location, host="h", port=1, token_id="t", vm_storage="v", backup_storage="b",
        iso_storage="i", bridge="v", memory_overcommit=1, disk_overcommit=1, max_concurrent_clones=1,
    )  # fmt: skip
    NodeState.create(node=made, status="online")
    return made


def add_servers(node: Node, count: int = 1, **limits: Any) -> list[Server]:
    """Servers of a node that are ready and run; all that they move is counted."""
    owner = User.get_or_none() or User.create(email="o@example.com", name="o", role="client")
    first = Server.select().count()
    limits = {"traffic_bytes": 1000, "traffic_policy": POLICY, **limits}
    with database.transaction():
        made = [
            Server.create(
                vmid=100 + number, name=f"s{number}", hostname="h", owner=owner, node=node, cpu=1,
                memory_bytes=1, status="ready", power="running", limits=limits,
            )
            for number in range(first, first + count)
        ]  # fmt: skip
        for server in made:
            TrafficMeter.begin(server)
    return made
