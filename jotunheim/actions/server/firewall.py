"""Sets a server's firewall: anti-spoofing, its own rules, and those of the rulesets that it applies."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from jotunheim.actions.context import ActionContext
from jotunheim.actions.server.playbook import load, read_back, run_playbook, succeed
from jotunheim.ansible import runner, variables
from jotunheim.data.server.change import SETS_FIREWALL
from jotunheim.data.server.status import Power
from jotunheim.repositories.peewee.addresses import Address
from jotunheim.repositories.peewee.firewalls import Ruleset, ServerRuleset
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.repositories.peewee.servers import Server

PLAYBOOK = "server_firewall.yml"


@dataclass(frozen=True)
class Rendered:
    """What the role gets, and which version of each ruleset is in it."""

    variables: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[int, int] = field(default_factory=dict)

    def record(self, server: Server) -> None:
        """Note that the server's VM has it."""
        ServerRuleset.record_applied(server, self.versions)


def render(
    server: Server,
    addresses: list[Address],
    *,
    rulesets: Sequence[int] | None = None,
    fields: Set[str] | None = None,
) -> Rendered:
    """The firewall that a server shall have, as this object has it.

    Args:
        rulesets: ids of the rulesets that it applies; None: as they are recorded.
        fields: only if one of these fields of a change is of matter to it; None: in any case.
    """
    if fields is not None and fields.isdisjoint(SETS_FIREWALL):
        return Rendered()
    applied = Ruleset.by_ids(ServerRuleset.ids_of(server) if rulesets is None else rulesets)
    given = variables.pve_firewall(
        server, addresses, [rule for ruleset in applied for rule in ruleset.rules], fields=fields
    )
    complete = "pve_firewall_rules" in given
    return Rendered(given, {row.id: row.rules_version for row in applied} if complete else {})


def set_firewall(job: Job, context: ActionContext) -> None:
    """Run the playbook for a claimed job; at the end the VM has the firewall that was asked for.

    Result: `{"rules": 3}`, the number of rules in force.

    Raises:
        ServerDeploymentError: the run failed.
        LeaseLostError: the job belongs to another worker now.
    """
    server = load(job)
    asked = job.parameters["after"]
    server.firewall = asked["firewall"]  # a preview's is not in the row
    rendered = render(server, Address.of([server]).get(server.id, []), rulesets=asked["rulesets"])
    apply(job, context, server, rendered)


def apply(job: Job, context: ActionContext, server: Server, rendered: Rendered) -> None:
    """Run the playbook for a server's firewall, and record what it came to. Raises as `set_firewall`."""
    given = {
        **variables.pve_device(server),
        **rendered.variables,
        **variables.pve_info(context.settings),
        **variables.unseen(job),
    }
    result = run_playbook(PLAYBOOK, job, server, context, given)
    succeed(
        job,
        lambda: _record(server, result, rendered),
        {"rules": len(rendered.variables.get("pve_firewall_rules", []))},
    )


def _record(server: Server, result: runner.HostResult, rendered: Rendered) -> None:
    server.record_power(Power(read_back(server, result)["status"]))
    rendered.record(server)
