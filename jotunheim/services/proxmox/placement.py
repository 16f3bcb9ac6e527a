"""Chooses the node for a server: who has the template, may take it, and has room; then by policy.

The caller's transaction stores the server, and with it what it may use; `serialize` lets one such decision follow the other,
so that no two servers get the same room.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from jotunheim.data.node.policy import PlacementPolicy
from jotunheim.data.node.state import NodeStatus
from jotunheim.data.server.spec import ServerSpec
from jotunheim.exceptions.model import DataValidationError, FieldProblem
from jotunheim.exceptions.service import PlacementError
from jotunheim.repositories.peewee.database import serialize
from jotunheim.repositories.peewee.infrastructure import Location, Node, Template, TemplateGroup
from jotunheim.services.proxmox import capacity
from jotunheim.services.proxmox.capacity import Room
from jotunheim.settings import Settings

SHOWN_NODES = 50
"""For so many nodes an error says why they cannot take a server."""


@dataclass(frozen=True)
class Place:
    """A node that could take a server, and what it would be made from there.

    Attributes:
        template: what it would be rebuilt from; None: nobody has said.
        least_disk_bytes, least_memory_bytes: what it cannot be smaller than; None: not known.
        made_from: `template` or `backup`.
    """

    node: Node
    template: Template | None
    least_disk_bytes: int | None = None
    least_memory_bytes: int | None = None
    made_from: str = "template"

    def disk_bytes(self, spec: ServerSpec) -> int | None:
        """The size of the system disk; None: nobody knows that of the template."""
        return spec.disk_bytes or self.least_disk_bytes


def places(
    spec: ServerSpec, memory_bytes: int, candidates: Sequence[Place], settings: Settings
) -> list[Place]:
    """Those that can take a server, the best one first.

    Args:
        memory_bytes: what the server gets.

    Raises:
        DataValidationError: the server is too small for all of them.
        PlacementError: no node can take it; the details say of each why not.
    """
    _assert_sizes(spec, memory_bytes, candidates)
    serialize("placement")
    rooms = capacity.rooms([place.node for place in candidates])
    fitting, reasons = [], {}
    for place in candidates:
        reason = next(_obstacles(spec, memory_bytes, place, rooms[place.node.id]), None)
        if reason is None:
            fitting.append(place)
        else:
            reasons[place.node.name] = reason
    if not fitting:
        raise none_left(reasons)
    fullest_first = _policy(fitting, settings) is PlacementPolicy.PACK

    def rank(place: Place) -> tuple[float, int, int]:
        room, sign = rooms[place.node.id], -1 if fullest_first else 1
        load = room.load_with(memory_bytes, place.disk_bytes(spec) or 0)
        return sign * load, sign * room.servers, place.node.id

    return sorted(fitting, key=rank)


def none_left(reasons: dict[str, str]) -> PlacementError:
    """The error that no node can take a server.

    Args:
        reasons: why not, by the node's name.
    """
    details = [FieldProblem(name, reason) for name, reason in list(reasons.items())[:SHOWN_NODES]]
    if len(reasons) == 1:
        name, reason = next(iter(reasons.items()))
        return PlacementError(f"Node {name} cannot take the server: it {reason}.", details=details)
    return PlacementError(
        f"None of {len(reasons)} nodes can take the server.",
        details=details,
        hint="Ask for less, or make room on a node, or add one with this template or storage.",
    )


def assert_growth(node: Node, *, memory_bytes: int, disk_bytes: int) -> None:
    """Make sure that a server of a node may grow by so much.

    Raises:
        PlacementError: its node has not the room.
    """
    if memory_bytes <= 0 and disk_bytes <= 0:
        return
    serialize("placement")
    room = capacity.rooms([node])[node.id]
    reason = next(_shortages(room, max(0, memory_bytes), max(0, disk_bytes)), None)
    if reason is not None:
        raise none_left({node.name: reason})


def of_templates(spec: ServerSpec) -> list[Place]:
    """Where a server could be made from a template.

    A template that belongs to a group stands for all of the group, unless the spec names a node.

    Raises:
        DataValidationError: the spec names what does not exist or does not fit together.
    """
    return [
        Place(template.node, template, template.least_disk_bytes, template.least_memory_bytes)
        for template in _templates(spec)
    ]


def assert_named(spec: ServerSpec) -> None:
    """Raise DataValidationError when the spec names a node or a location that does not exist."""
    problems = _unknown_places(spec)
    if problems:
        raise DataValidationError(problems)


def _unknown_places(spec: ServerSpec) -> list[FieldProblem]:
    problems = []
    if spec.node_id is not None and not Node.exists(spec.node_id):
        problems.append(FieldProblem("node_id", f"there is no node {spec.node_id}"))
    if spec.location_id is not None and not Location.exists(spec.location_id):
        problems.append(FieldProblem("location_id", f"there is no location {spec.location_id}"))
    return problems


def _templates(spec: ServerSpec) -> list[Template]:
    problems = []
    template = Template.with_node(spec.template_id) if spec.template_id is not None else None
    if spec.template_id is not None and template is None:
        problems.append(FieldProblem("template_id", f"there is no template {spec.template_id}"))
    if spec.template_group_id is not None and not TemplateGroup.exists(spec.template_group_id):
        problems.append(
            FieldProblem("template_group_id", f"there is no template group {spec.template_group_id}")
        )
    problems += _unknown_places(spec)
    if problems:
        raise DataValidationError(problems)
    group_id = template.group_id if template is not None else spec.template_group_id
    if group_id is None:
        assert template is not None
        what, found = f"template {template.id}", [template]
    else:
        what, found = f"template group {group_id}", Template.of_group(group_id)
    there = [
        template
        for template in found
        if spec.node_id in (None, template.node_id) and spec.location_id in (None, template.node.location_id)
    ]
    if not there:
        raise DataValidationError(list(_not_there(spec, what, found)))
    return there


def _not_there(spec: ServerSpec, what: str, found: Sequence[Template]) -> Iterator[FieldProblem]:
    """Which wishes the places of the templates contradict."""
    if not found:
        yield FieldProblem("template_group_id", f"{what} has no templates")
        return
    nodes = ", ".join(f"{template.node_id} ({template.node.name})" for template in found)
    if spec.node_id is not None and spec.node_id not in {template.node_id for template in found}:
        yield FieldProblem("node_id", f"{what} is on node {nodes}")
    locations = sorted({template.node.location_id for template in found})
    if spec.location_id is not None and spec.location_id not in locations:
        yield FieldProblem("location_id", f"{what} is in location {', '.join(map(str, locations))}")
    elif spec.location_id is not None and spec.node_id is not None:
        yield FieldProblem("location_id", f"node {spec.node_id} is not in location {spec.location_id}")


def _assert_sizes(spec: ServerSpec, memory_bytes: int, candidates: Sequence[Place]) -> None:
    """Raise DataValidationError when the server is too small for all that it could be made from."""
    problems = []
    disk = min(place.least_disk_bytes or 0 for place in candidates)
    if spec.disk_bytes is not None and spec.disk_bytes < disk:
        what = candidates[0].made_from
        problems.append(FieldProblem("disk_bytes", f"must be at least {disk}, the size of the {what}'s disk"))
    memory = min(place.least_memory_bytes or 0 for place in candidates)
    if memory_bytes < memory:
        problems.append(FieldProblem("memory_bytes", f"must be at least {memory}, as the template says"))
    if problems:
        raise DataValidationError(problems)


def _obstacles(spec: ServerSpec, memory_bytes: int, place: Place, room: Room) -> Iterator[str]:
    """Why a node cannot take the server, in words that follow its name."""
    node, template = place.node, place.template
    lacking = [f"{key}={value}" for key, value in spec.node_labels.items() if node.labels.get(key) != value]
    if lacking:
        yield f"has not the labels {', '.join(lacking)}"
    if node.drained:
        yield "is drained: it takes no new servers"
    if room.state.status == NodeStatus.OFFLINE:
        yield f"is offline since {room.state.status_since:%Y-%m-%d %H:%M:%S} UTC"
    if template is not None and template.missing_since is not None and place.made_from == "template":
        yield f"has no template {template.vmid} any more"
    if room.state.synced_at is not None and not room.state.lacking:
        if room.storage is None:
            yield f"has no storage {node.vm_storage}"
        elif not room.storage.active or "images" not in room.storage.content:
            yield f"cannot put disks on its storage {node.vm_storage}"
    if memory_bytes < (place.least_memory_bytes or 0):
        yield f"has a template that needs {place.least_memory_bytes} bytes of memory"
    if spec.disk_bytes is not None and spec.disk_bytes < (place.least_disk_bytes or 0):
        yield f"has a template that needs a disk of {place.least_disk_bytes} bytes"
    yield from _shortages(room, memory_bytes, place.disk_bytes(spec) or 0)


def _shortages(room: Room, memory_bytes: int, disk_bytes: int) -> Iterator[str]:
    available = room.memory_available
    if available is not None and memory_bytes > available:
        yield f"has {available} bytes of memory left, and {memory_bytes} are needed"
    available = room.disk_available
    if available is not None and disk_bytes > available:
        yield f"has {available} bytes of disk space left, and {disk_bytes} are needed"


def _policy(fitting: Sequence[Place], settings: Settings) -> PlacementPolicy:
    """The location's, if all nodes are in one that has its own; else the setting."""
    policies = {place.node.location.placement_policy for place in fitting}
    chosen = policies.pop() if len(policies) == 1 else None
    return PlacementPolicy(chosen or settings.placement_policy)
