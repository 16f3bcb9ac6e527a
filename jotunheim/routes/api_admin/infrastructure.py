"""Locations, nodes, templates and address pools."""

from jotunheim.data.answers import (
    AddressPoolAnswer,
    AddressPoolList,
    LocationAnswer,
    LocationList,
    NodeAnswer,
    NodeList,
    NodeTestAnswer,
    TemplateAnswer,
    TemplateList,
)
from jotunheim.data.node.spec import AddressPoolSpec, LocationSpec, NodeSpec, TemplateSpec
from jotunheim.data.node.view import NodeTest
from jotunheim.routes.operation import Call, ListQuery, NoQuery, Operations, Reply
from jotunheim.services import networks
from jotunheim.services.nodes import locations, nodes, templates

operations = Operations("/admin", role="admin")


@operations.get("/locations", scope="nodes:read", answer=LocationList, query=ListQuery)
def list_locations(call: Call[None, ListQuery]) -> Reply:
    """List locations."""
    found = locations.list_locations(call.query.wanted_page())
    return Reply(LocationList.model_validate({"locations": found.items, "meta": found.meta()}))


@operations.post("/locations", scope="nodes:write", body=LocationSpec, answer=LocationAnswer, status=201)
def create_location(call: Call[LocationSpec, NoQuery]) -> Reply:
    """Add a location."""
    return Reply(LocationAnswer(location=locations.create_location(call.body)))


@operations.get("/locations/{id:row}", scope="nodes:read", answer=LocationAnswer)
def read_location(call: Call[None, NoQuery]) -> Reply:
    """Show a location."""
    return Reply(LocationAnswer(location=locations.read_location(call.path["id"])))


@operations.get("/nodes", scope="nodes:read", answer=NodeList, query=ListQuery)
def list_nodes(call: Call[None, ListQuery]) -> Reply:
    """List nodes."""
    found = nodes.list_nodes(call.query.wanted_page())
    return Reply(NodeList.model_validate({"nodes": found.items, "meta": found.meta()}))


@operations.post("/nodes", scope="nodes:write", body=NodeSpec, answer=NodeAnswer, status=201)
def create_node(call: Call[NodeSpec, NoQuery]) -> Reply:
    """Add a node."""
    return Reply(NodeAnswer(node=nodes.create_node(call.body, call.context.keyring)))


@operations.get("/nodes/{id:row}", scope="nodes:read", answer=NodeAnswer)
def read_node(call: Call[None, NoQuery]) -> Reply:
    """Show a node, without its token secret."""
    return Reply(NodeAnswer(node=nodes.read_node(call.path["id"])))


def _try_out(call: Call[None, NoQuery]) -> NodeTest:
    return nodes.test_node(call.path["id"], call.context.keyring, call.context.settings)


@operations.post(
    "/nodes/{id:row}/test", scope="nodes:write", answer=NodeTestAnswer, status=200, prepare=_try_out
)
def test_node(call: Call[None, NoQuery]) -> Reply:
    """Connect to a node and check certificate, token, permissions and storage."""
    return Reply(NodeTestAnswer(test=call.prepared))


@operations.get("/templates", scope="nodes:read", answer=TemplateList, query=ListQuery)
def list_templates(call: Call[None, ListQuery]) -> Reply:
    """List templates."""
    found = templates.list_templates(call.query.wanted_page())
    return Reply(TemplateList.model_validate({"templates": found.items, "meta": found.meta()}))


def _read_template_disk(call: Call[TemplateSpec, NoQuery]) -> templates.TemplateDisk | None:
    return templates.read_disk(call.body, call.context.keyring, call.context.settings)


@operations.post(
    "/templates",
    scope="nodes:write",
    body=TemplateSpec,
    answer=TemplateAnswer,
    status=201,
    prepare=_read_template_disk,
)
def create_template(call: Call[TemplateSpec, NoQuery]) -> Reply:
    """Add a template; its disk size is read from the node, if that answers."""
    return Reply(TemplateAnswer(template=templates.create_template(call.body, call.prepared)))


@operations.get("/templates/{id:row}", scope="nodes:read", answer=TemplateAnswer)
def read_template(call: Call[None, NoQuery]) -> Reply:
    """Show a template."""
    return Reply(TemplateAnswer(template=templates.read_template(call.path["id"])))


@operations.get("/address-pools", scope="nodes:read", answer=AddressPoolList, query=ListQuery)
def list_address_pools(call: Call[None, ListQuery]) -> Reply:
    """List address pools with their free counts."""
    found = networks.list_pools(call.query.wanted_page())
    return Reply(AddressPoolList.model_validate({"address_pools": found.items, "meta": found.meta()}))


@operations.post(
    "/address-pools", scope="nodes:write", body=AddressPoolSpec, answer=AddressPoolAnswer, status=201
)
def create_address_pool(call: Call[AddressPoolSpec, NoQuery]) -> Reply:
    """Add an address pool, as a range or as a prefix."""
    return Reply(AddressPoolAnswer(address_pool=networks.create_pool(call.body)))


@operations.get("/address-pools/{id:row}", scope="nodes:read", answer=AddressPoolAnswer)
def read_address_pool(call: Call[None, NoQuery]) -> Reply:
    """Show an address pool."""
    return Reply(AddressPoolAnswer(address_pool=networks.read_pool(call.path["id"])))
