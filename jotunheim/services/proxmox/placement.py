"""Chooses the node for a server."""

from jotunheim.data.server.spec import ServerSpec
from jotunheim.exceptions.model import DataValidationError, FieldProblem
from jotunheim.exceptions.service import PlacementError
from jotunheim.repositories.peewee.infrastructure import Location, Node, Template


def place(spec: ServerSpec) -> tuple[Node, Template]:
    """The node that a server will be on, and the template there.

    A template stands on one node, so it decides; the wishes of the spec must agree with it.

    Raises:
        DataValidationError: the spec names what does not exist or does not fit together.
        PlacementError: the node takes no new servers.
    """
    template = Template.with_node(spec.template_id)
    problems = []
    if template is None:
        problems.append(FieldProblem("template_id", f"there is no template {spec.template_id}"))
    if spec.node_id is not None and not Node.exists(spec.node_id):
        problems.append(FieldProblem("node_id", f"there is no node {spec.node_id}"))
    if spec.location_id is not None and not Location.exists(spec.location_id):
        problems.append(FieldProblem("location_id", f"there is no location {spec.location_id}"))
    if template is not None and not problems:
        node = template.node
        if spec.node_id not in (None, node.id):
            problems.append(
                FieldProblem("node_id", f"template {template.id} is on node {node.id} ({node.name})")
            )
        if spec.location_id not in (None, node.location_id):
            problems.append(
                FieldProblem(
                    "location_id", f"template {template.id} is in location {node.location_id}, on {node.name}"
                )
            )
        minimum = template.minimum_disk_bytes
        if spec.disk_bytes is not None and minimum is not None and spec.disk_bytes < minimum:
            problems.append(
                FieldProblem("disk_bytes", f"must be at least {minimum}, the size of the template's disk")
            )
    if problems or template is None:
        raise DataValidationError(problems)
    if template.node.drained:
        raise PlacementError(
            f"Node {template.node.name} is drained: it takes no new servers.",
            details=[FieldProblem("template_id", f"template {template.id} is only on that node")],
            hint="Undo the drain of the node, or take a template of another one.",
        )
    return template.node, template
