"""The firewall that a server shall have: showing it, asking for another one, and what becomes of that."""

from collections.abc import Mapping, Sequence
from typing import Any

from jotunheim.data.actor import Actor
from jotunheim.data.answers import FirewallAnswer
from jotunheim.data.job import JobType
from jotunheim.data.server.firewall import Firewall, FirewallView
from jotunheim.exceptions.model import DataValidationError, FieldProblem
from jotunheim.exceptions.service import ConflictError
from jotunheim.repositories.peewee.database import previewed, unique
from jotunheim.repositories.peewee.firewalls import Ruleset, ServerRuleset
from jotunheim.repositories.peewee.job_steps import JobStep
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.repositories.peewee.servers import OPEN_FIREWALL, Server
from jotunheim.services.servers.plans import AT_ONCE, Manner
from jotunheim.services.servers.requests import Asked, assert_free, enqueue

STEP = "Set the firewall"
"""The step after which the VM has it."""


def answer(server: Server) -> FirewallAnswer:
    """A server's firewall, as it is wanted."""
    wanted = {**(server.firewall or OPEN_FIREWALL), "rulesets": ServerRuleset.ids_of(server)}
    return FirewallAnswer(
        firewall=FirewallView.model_validate(wanted),
        anti_spoofing=server.anti_spoofing,
        recorded=server.firewall is not None,
        outdated_rulesets=ServerRuleset.outdated_ids_of(server),
    )


def set_firewall(server: Server, wanted: Firewall, actor: Actor, manner: Manner) -> Asked:
    """Record a firewall and queue the job that brings it about.

    Raises:
        LockedError: a job has the server.
        ConflictError: it is not ready.
        DataValidationError: a ruleset does not exist.
        InUseError: a ruleset has just been deleted.
    """
    assert_free(server)
    after = wanted.model_dump(mode="json")
    rulesets = _rulesets(wanted.rulesets)
    parameters = {
        "before": _recorded(server),
        "after": {"firewall": after, "rulesets": after.pop("rulesets")},
        "versions": {str(ruleset.id): ruleset.rules_version for ruleset in rulesets},
    }
    with unique("A ruleset has just been deleted."), previewed(manner.check):
        _record(server, parameters["after"])
    return Asked(server, enqueue(server, JobType.FIREWALL, actor, parameters, manner))


def apply_again(server: Server, actor: Actor, *, check: bool) -> Job:
    """Queue the job that brings a server's VM to the firewall that is recorded.

    Raises:
        LockedError: a job has the server.
        ConflictError: it is not ready.
    """
    assert_free(server)
    recorded = _recorded(server)
    versions = {str(row.id): row.rules_version for row in Ruleset.by_ids(recorded["rulesets"])}
    parameters = {"before": recorded, "after": recorded, "versions": versions}
    return enqueue(server, JobType.FIREWALL, actor, parameters, Manner(check) if check else AT_ONCE)


def record_again(server: Server, parameters: Mapping[str, Any]) -> None:
    """Record what a failed job wanted once more, since it is tried again.

    Raises:
        ConflictError: the firewall was changed otherwise meanwhile, or a ruleset is gone.
    """
    if _recorded(server) not in (parameters["before"], parameters["after"]):
        raise ConflictError("The firewall was changed otherwise meanwhile.", hint="Ask for the change anew.")
    wanted = parameters["after"]["rulesets"]
    if len(Ruleset.by_ids(wanted)) < len(wanted):
        raise ConflictError("A ruleset of this job was deleted.", hint="Ask for the change anew.")
    with unique("A ruleset has just been deleted."):
        _record(server, parameters["after"])


def revert(server: Server, job: Job) -> None:
    """Record again what was before a change that failed, unless the VM has it and only what came after failed.

    Call it within a transaction.
    """
    if not JobStep.ended_well(job, STEP):
        put_back(server, job.parameters)


def put_back(server: Server, parameters: Mapping[str, Any]) -> None:
    """Record the firewall that was before a change, unless it was set otherwise meanwhile.

    Rulesets that were deleted meanwhile, which the server no longer held, stay away.
    """
    before = parameters["before"]
    if _recorded(server) == parameters["after"] != before:
        there = [ruleset.id for ruleset in Ruleset.by_ids(before["rulesets"])]
        with unique("A ruleset has just been deleted."):
            _record(server, {**before, "rulesets": there})


def _record(server: Server, wanted: Mapping[str, Any]) -> None:
    ServerRuleset.replace_all(server, wanted["rulesets"])
    server.change(firewall=wanted["firewall"])


def _recorded(server: Server) -> dict[str, Any]:
    return {"firewall": server.firewall, "rulesets": ServerRuleset.ids_of(server)}


def _rulesets(ids: Sequence[int]) -> list[Ruleset]:
    found = Ruleset.by_ids(ids)
    known = {ruleset.id for ruleset in found}
    problems = [
        FieldProblem(f"rulesets.{index}", f"there is no firewall ruleset {id_}")
        for index, id_ in enumerate(ids)
        if id_ not in known
    ]
    if problems:
        raise DataValidationError(problems)
    return found
