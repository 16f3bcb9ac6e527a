"""Templates and template groups."""

from collections.abc import Mapping

from jotunheim.data.answers import (
    TemplateAnswer,
    TemplateGroupAnswer,
    TemplateGroupList,
    TemplateList,
    TemplatesSynced,
)
from jotunheim.data.node.change import TemplateChange, TemplateGroupChange
from jotunheim.data.node.spec import TemplateGroupSpec, TemplateSpec
from jotunheim.repositories.proxmox.template import TemplateFacts
from jotunheim.routes.call import Call, NoQuery, Reply
from jotunheim.routes.operations import Operations
from jotunheim.routes.queries import TemplateGroupListQuery, TemplateListQuery
from jotunheim.services.nodes import nodes, template_groups, templates

operations = Operations("/admin", role="admin")


@operations.get(
    "/template-groups", scope="nodes:read", answer=TemplateGroupList, query=TemplateGroupListQuery
)
def list_groups(call: Call[None, TemplateGroupListQuery]) -> Reply:
    """List template groups."""
    found = template_groups.list_groups(call.query.wanted_page(), call.query.filters())
    return Reply(TemplateGroupList.model_validate({"template_groups": found.items, "meta": found.meta()}))


@operations.post(
    "/template-groups", scope="nodes:write", body=TemplateGroupSpec, answer=TemplateGroupAnswer, status=201
)
def create_group(call: Call[TemplateGroupSpec, NoQuery]) -> Reply:
    """Add a template group: one logical template, which can stand on several nodes."""
    return Reply(TemplateGroupAnswer(template_group=template_groups.create_group(call.body)))


@operations.get("/template-groups/{id:row}", scope="nodes:read", answer=TemplateGroupAnswer)
def read_group(call: Call[None, NoQuery]) -> Reply:
    """Show a template group."""
    found = template_groups.find(call.path["id"])
    return Reply(TemplateGroupAnswer(template_group=template_groups.view(found)), etag=found.version)


@operations.patch(
    "/template-groups/{id:row}", scope="nodes:write", body=TemplateGroupChange, answer=TemplateGroupAnswer
)
def change_group(call: Call[TemplateGroupChange, NoQuery]) -> Reply:
    """Change a template group."""
    found = template_groups.find(call.path["id"], call.if_match)
    template_groups.change_group(found, call.body)
    return Reply(TemplateGroupAnswer(template_group=template_groups.view(found)), etag=found.version)


@operations.delete("/template-groups/{id:row}", scope="nodes:write", answer=TemplateGroupAnswer)
def delete_group(call: Call[None, NoQuery]) -> Reply:
    """Delete a template group that no template belongs to."""
    found = template_groups.find(call.path["id"], call.if_match)
    answer = TemplateGroupAnswer(template_group=template_groups.view(found))
    template_groups.delete_group(found)
    return Reply(answer)


@operations.get("/templates", scope="nodes:read", answer=TemplateList, query=TemplateListQuery)
def list_templates(call: Call[None, TemplateListQuery]) -> Reply:
    """List templates."""
    found = templates.list_templates(call.query.wanted_page(), call.query.filters())
    return Reply(TemplateList.model_validate({"templates": found.items, "meta": found.meta()}))


def _ask(call: Call[TemplateSpec, NoQuery]) -> TemplateFacts | None:
    return templates.ask(call.body, call.context.keyring, call.context.settings)


@operations.post(
    "/templates",
    scope="nodes:write",
    body=TemplateSpec,
    answer=TemplateAnswer,
    status=201,
    prepare=_ask,
)
def create_template(call: Call[TemplateSpec, NoQuery]) -> Reply:
    """Add a template; its disk size is read from the node, if that answers."""
    return Reply(TemplateAnswer(template=templates.create_template(call.body, call.prepared)))


@operations.get("/templates/{id:row}", scope="nodes:read", answer=TemplateAnswer)
def read_template(call: Call[None, NoQuery]) -> Reply:
    """Show a template."""
    found = templates.find(call.path["id"])
    return Reply(TemplateAnswer(template=templates.view(found)), etag=found.version)


def _ask_again(call: Call[TemplateChange, NoQuery]) -> TemplateFacts | None:
    found = templates.find(call.path["id"])
    return templates.ask_again(found, call.body, call.context.keyring, call.context.settings)


@operations.patch(
    "/templates/{id:row}",
    scope="nodes:write",
    body=TemplateChange,
    answer=TemplateAnswer,
    prepare=_ask_again,
)
def change_template(call: Call[TemplateChange, NoQuery]) -> Reply:
    """Change a template."""
    found = templates.find(call.path["id"], call.if_match)
    templates.change_template(found, call.body, call.prepared)
    return Reply(TemplateAnswer(template=templates.view(found)), etag=found.version)


@operations.delete("/templates/{id:row}", scope="nodes:write", answer=TemplateAnswer)
def delete_template(call: Call[None, NoQuery]) -> Reply:
    """Forget a template that no server was made from; the VM is not touched."""
    found = templates.find(call.path["id"], call.if_match)
    templates.delete_template(found)
    return Reply(TemplateAnswer(template=templates.view(found)))


def _ask_all(call: Call[None, NoQuery]) -> Mapping[int, TemplateFacts]:
    found = nodes.find(call.path["id"])
    return templates.ask_all(found, call.context.keyring, call.context.settings)


@operations.post(
    "/nodes/{id:row}/templates/sync",
    scope="nodes:write",
    answer=TemplatesSynced,
    status=200,
    prepare=_ask_all,
)
def sync_templates(call: Call[None, NoQuery]) -> Reply:
    """Find the templates that a node has: those that are not known are added, hidden; what it has no more is noted."""
    synced = templates.record_all(nodes.find(call.path["id"]), call.prepared)
    return Reply(TemplatesSynced(templates=synced.templates, added=synced.added, missing=synced.missing))
