"""Firewall rulesets: named lists of rules that servers apply."""

from jotunheim.data.answers import (
    RulesetAnswer,
    RulesetApplied,
    RulesetChanged,
    RulesetList,
    RulesetServers,
)
from jotunheim.data.server.firewall import ApplyRequest, RulesetChange, RulesetSpec
from jotunheim.routes.call import Call, CheckQuery, NoQuery, Reply
from jotunheim.routes.operations import Operations
from jotunheim.routes.queries import RulesetListQuery, RulesetServersQuery
from jotunheim.services import jobs
from jotunheim.services.networks import rulesets

operations = Operations("/admin", role="admin")


@operations.get("/firewall-rulesets", scope="nodes:read", answer=RulesetList, query=RulesetListQuery)
def list_firewall_rulesets(call: Call[None, RulesetListQuery]) -> Reply:
    """List firewall rulesets, with how many servers apply them."""
    found = rulesets.list_rulesets(call.query.wanted_page(), call.query.filters())
    return Reply(RulesetList.model_validate({"firewall_rulesets": found.items, "meta": found.meta()}))


@operations.post(
    "/firewall-rulesets", scope="nodes:write", body=RulesetSpec, answer=RulesetAnswer, status=201
)
def create_firewall_ruleset(call: Call[RulesetSpec, NoQuery]) -> Reply:
    """Add a firewall ruleset."""
    return Reply(RulesetAnswer(firewall_ruleset=rulesets.create_ruleset(call.body)))


@operations.get("/firewall-rulesets/{id:row}", scope="nodes:read", answer=RulesetAnswer)
def read_firewall_ruleset(call: Call[None, NoQuery]) -> Reply:
    """Show a firewall ruleset."""
    found = rulesets.find(call.path["id"])
    return Reply(RulesetAnswer(firewall_ruleset=rulesets.view(found)), etag=found.version)


@operations.patch(
    "/firewall-rulesets/{id:row}", scope="nodes:write", body=RulesetChange, answer=RulesetChanged
)
def change_firewall_ruleset(call: Call[RulesetChange, NoQuery]) -> Reply:
    """Change a firewall ruleset. The answer names servers that do not have its new rules yet."""
    found = rulesets.find(call.path["id"], call.if_match)
    rulesets.change_ruleset(found, call.body)
    answer = RulesetChanged(
        firewall_ruleset=rulesets.view(found), outdated_servers=rulesets.outdated_servers(found)
    )
    return Reply(answer, etag=found.version)


@operations.delete("/firewall-rulesets/{id:row}", scope="nodes:write", answer=RulesetAnswer)
def delete_firewall_ruleset(call: Call[None, NoQuery]) -> Reply:
    """Delete a firewall ruleset that no server applies."""
    found = rulesets.find(call.path["id"], call.if_match)
    last = rulesets.view(found)
    rulesets.delete_ruleset(found)
    return Reply(RulesetAnswer(firewall_ruleset=last))


@operations.get(
    "/firewall-rulesets/{id:row}/servers",
    scope="nodes:read",
    answer=RulesetServers,
    query=RulesetServersQuery,
)
def list_firewall_ruleset_servers(call: Call[None, RulesetServersQuery]) -> Reply:
    """List the servers that apply a firewall ruleset."""
    query = call.query
    found = rulesets.list_servers(rulesets.find(call.path["id"]), query.wanted_page(), query.filters())
    return Reply(RulesetServers.model_validate({"servers": found.items, "meta": found.meta()}))


@operations.post(
    "/firewall-rulesets/{id:row}/apply",
    scope="servers:write",
    body=ApplyRequest,
    answer=RulesetApplied,
    status=202,
    query=CheckQuery,
)
def apply_firewall_ruleset(call: Call[ApplyRequest, CheckQuery]) -> Reply:
    """Bring a ruleset's present rules to the servers that apply it, by a job each; at most 100 at once."""
    applied = rulesets.apply_ruleset(
        rulesets.get(call.path["id"]),
        call.body,
        call.actor,
        call.context.settings,
        check=call.query.check,
    )
    answer = RulesetApplied(
        jobs=jobs.views(applied.jobs),
        left_out=applied.left_out,
        remaining=applied.remaining,
        next_after=applied.next_after,
    )
    return Reply(answer, wakes=tuple(job.id for job in applied.jobs))
