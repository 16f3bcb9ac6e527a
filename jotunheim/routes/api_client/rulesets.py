"""Firewall rulesets that owners can let their servers apply. They are the operator's."""

from jotunheim.data.answers import ClientRulesetAnswer, ClientRulesetList
from jotunheim.data.server.firewall import ClientRulesetView, RulesetView
from jotunheim.routes.call import Call, NoQuery, Reply
from jotunheim.routes.operations import Operations
from jotunheim.routes.queries import RulesetListQuery
from jotunheim.services.networks import rulesets

operations = Operations("/client", role="client")


def _shown(ruleset: RulesetView) -> ClientRulesetView:
    """Without how many servers of others apply it."""
    return ClientRulesetView.model_validate(ruleset.model_dump())


@operations.get("/firewall-rulesets", scope="servers:read", answer=ClientRulesetList, query=RulesetListQuery)
def list_firewall_rulesets(call: Call[None, RulesetListQuery]) -> Reply:
    """List the firewall rulesets that your servers can apply."""
    found = rulesets.list_rulesets(call.query.wanted_page(), call.query.filters())
    shown = [_shown(ruleset) for ruleset in found.items]
    return Reply(ClientRulesetList.model_validate({"firewall_rulesets": shown, "meta": found.meta()}))


@operations.get("/firewall-rulesets/{id:row}", scope="servers:read", answer=ClientRulesetAnswer)
def read_firewall_ruleset(call: Call[None, NoQuery]) -> Reply:
    """Show a firewall ruleset."""
    found = rulesets.view(rulesets.find(call.path["id"]))
    return Reply(ClientRulesetAnswer(firewall_ruleset=_shown(found)))
