"""Locations and nodes."""

from jotunheim.data.answers import (
    LocationAnswer,
    LocationList,
    NodeAnswer,
    NodeList,
    NodeTestAnswer,
)
from jotunheim.data.node.change import DrainRequest, LocationChange, NodeChange
from jotunheim.data.node.spec import LocationSpec, NodeSpec
from jotunheim.data.node.view import NodeTest
from jotunheim.routes.call import Call, NoQuery, Reply
from jotunheim.routes.operations import Operations
from jotunheim.routes.queries import LocationListQuery, NodeListQuery
from jotunheim.services.nodes import locations, nodes

operations = Operations("/admin", role="admin")


@operations.get("/locations", scope="nodes:read", answer=LocationList, query=LocationListQuery)
def list_locations(call: Call[None, LocationListQuery]) -> Reply:
    """List locations."""
    found = locations.list_locations(call.query.wanted_page(), call.query.filters())
    return Reply(LocationList.model_validate({"locations": found.items, "meta": found.meta()}))


@operations.post("/locations", scope="nodes:write", body=LocationSpec, answer=LocationAnswer, status=201)
def create_location(call: Call[LocationSpec, NoQuery]) -> Reply:
    """Add a location."""
    return Reply(LocationAnswer(location=locations.create_location(call.body)))


@operations.get("/locations/{id:row}", scope="nodes:read", answer=LocationAnswer)
def read_location(call: Call[None, NoQuery]) -> Reply:
    """Show a location."""
    found = locations.find(call.path["id"])
    return Reply(LocationAnswer(location=locations.view(found)), etag=found.version)


@operations.patch("/locations/{id:row}", scope="nodes:write", body=LocationChange, answer=LocationAnswer)
def change_location(call: Call[LocationChange, NoQuery]) -> Reply:
    """Change a location."""
    found = locations.find(call.path["id"], call.if_match)
    locations.change_location(found, call.body)
    return Reply(LocationAnswer(location=locations.view(found)), etag=found.version)


@operations.delete("/locations/{id:row}", scope="nodes:write", answer=LocationAnswer)
def delete_location(call: Call[None, NoQuery]) -> Reply:
    """Delete a location in which no node stands."""
    found = locations.find(call.path["id"], call.if_match)
    locations.delete_location(found)
    return Reply(LocationAnswer(location=locations.view(found)))


@operations.get("/nodes", scope="nodes:read", answer=NodeList, query=NodeListQuery)
def list_nodes(call: Call[None, NodeListQuery]) -> Reply:
    """List nodes."""
    found = nodes.list_nodes(call.query.wanted_page(), call.query.filters())
    return Reply(NodeList.model_validate({"nodes": found.items, "meta": found.meta()}))


@operations.post("/nodes", scope="nodes:write", body=NodeSpec, answer=NodeAnswer, status=201)
def create_node(call: Call[NodeSpec, NoQuery]) -> Reply:
    """Add a node."""
    return Reply(NodeAnswer(node=nodes.create_node(call.body, call.context.keyring)))


@operations.get("/nodes/{id:row}", scope="nodes:read", answer=NodeAnswer)
def read_node(call: Call[None, NoQuery]) -> Reply:
    """Show a node, without its token secret."""
    found = nodes.find(call.path["id"])
    return Reply(NodeAnswer(node=nodes.view(found)), etag=found.version)


@operations.patch("/nodes/{id:row}", scope="nodes:write", body=NodeChange, answer=NodeAnswer)
def change_node(call: Call[NodeChange, NoQuery]) -> Reply:
    """Change a node; a new token secret is used from the next run on."""
    found = nodes.find(call.path["id"], call.if_match)
    nodes.change_node(found, call.body, call.context.keyring)
    return Reply(NodeAnswer(node=nodes.view(found)), etag=found.version)


@operations.delete("/nodes/{id:row}", scope="nodes:write", answer=NodeAnswer)
def delete_node(call: Call[None, NoQuery]) -> Reply:
    """Forget a node without servers, templates and address pools of its own; the host is not touched."""
    found = nodes.find(call.path["id"], call.if_match)
    answer = NodeAnswer(node=nodes.view(found))
    nodes.delete_node(found)
    return Reply(answer)


@operations.post(
    "/nodes/{id:row}/drain", scope="nodes:write", body=DrainRequest, answer=NodeAnswer, status=200
)
def drain_node(call: Call[DrainRequest, NoQuery]) -> Reply:
    """Let a node take no new servers, or again; those that it has stay."""
    found = nodes.find(call.path["id"])
    nodes.drain_node(found, drained=call.body.drained)
    return Reply(NodeAnswer(node=nodes.view(found)), etag=found.version)


def _try_out(call: Call[None, NoQuery]) -> NodeTest:
    return nodes.test_node(call.path["id"], call.context.keyring, call.context.settings)


@operations.post(
    "/nodes/{id:row}/test", scope="nodes:write", answer=NodeTestAnswer, status=200, prepare=_try_out
)
def test_node(call: Call[None, NoQuery]) -> Reply:
    """Connect to a node and check certificate, token, permissions and storage."""
    return Reply(NodeTestAnswer(test=call.prepared))
