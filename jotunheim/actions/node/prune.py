"""Removes orphans from their nodes."""

import uuid

from jotunheim.actions.context import ActionContext
from jotunheim.actions.server.playbook import run_playbook, succeed
from jotunheim.ansible import variables
from jotunheim.data.node.orphan import OrphanKind
from jotunheim.exceptions.service import ServerDeploymentError
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.repositories.peewee.orphans import Orphan
from jotunheim.repositories.peewee.servers import Server

PLAYBOOK = "orphan_prune.yml"
TASK = "jotunheim.pve.orphan_prune"


def load(job: Job) -> Orphan:
    """The job's orphan with its node.

    Raises:
        ServerDeploymentError: there is none any more.
    """
    orphan: Orphan | None = (
        Orphan.with_node().where(Orphan.id == uuid.UUID(job.parameters["orphan_id"])).first()
    )
    if orphan is None:
        raise ServerDeploymentError("not_found", "The orphan of this job is gone.")
    return orphan


def prune(job: Job, context: ActionContext) -> None:
    """Remove an orphan if it is still what was found, prove that it is gone, and forget it.

    Result: `{"kind": "vm", "name": "web-1", "vmid": 1000}`. One that was gone already is forgotten.

    Raises:
        ServerDeploymentError: the run failed, or it was not proved that it is gone.
        LeaseLostError: the job belongs to another worker now.
    """
    orphan = load(job)
    # No server: the place of one in the inventory, by which it is found and proved.
    stand_in = Server(
        id=orphan.mark or orphan.id, vmid=orphan.vmid, name=f"{orphan.kind}-{orphan.vmid}", node=orphan.node
    )
    given = variables.pve_orphan(orphan, job.parameters["despite"])
    told = run_playbook(PLAYBOOK, job, stand_in, context, given).results.get(TASK, {})

    def record() -> None:
        if not told.get("gone"):
            raise ServerDeploymentError(
                "read_back_failed", "It was not proved that the orphan is gone.", retryable=True
            )
        orphan.forget()

    succeed(job, record, {"kind": OrphanKind(orphan.kind), "name": orphan.name, "vmid": orphan.vmid})
