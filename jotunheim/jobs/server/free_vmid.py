"""What jobs do that make a VM under a VMID of ours, and find it in use on the node."""

import logging
from collections.abc import Callable, Iterable

from jotunheim.actions.context import ActionContext
from jotunheim.actions.server.playbook import VmidTakenError, load
from jotunheim.exceptions.repository import PlanOutdatedError
from jotunheim.exceptions.service import ServerDeploymentError
from jotunheim.repositories.peewee.database import transaction
from jotunheim.repositories.peewee.infrastructure import Node
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.repositories.peewee.plans import Plan
from jotunheim.repositories.peewee.servers import Server
from jotunheim.settings import Settings

VMID_ATTEMPTS = 5
"""How often another VMID is taken because the node uses the one before for something else."""

log = logging.getLogger(__name__)


def with_free_vmid(
    job: Job,
    context: ActionContext,
    act: Callable[[Job, ActionContext], None],
    replace: Callable[[Server, Node, Iterable[int], Settings], int],
) -> None:
    """Carry out an action; when the node uses its VMID for something else, replace that and begin again.

    Raises:
        ServerDeploymentError: several VMIDs in a row were in use, or the one that a plan has shown, or what the
            action raises.
    """
    for _ in range(VMID_ATTEMPTS):
        try:
            act(job, context)
        except VmidTakenError as error:
            plan = Plan.applied_in(job.id)
            if plan is not None:
                raise ServerDeploymentError(
                    PlanOutdatedError.code,
                    f"VMID {error.vmid}, which the preview has shown, is in use on the node.",
                    hint=plan.outdated_hint,
                ) from None
            server = load(job)
            with transaction():
                job.assert_lease()
                vmid = replace(server, server.node, error.taken_vmids, context.settings)
            log.info("VMID %s is in use on %s; %s takes its place.", error.vmid, server.node.name, vmid)
        else:
            return
    raise ServerDeploymentError(
        "vmid_taken",
        f"{VMID_ATTEMPTS} VMIDs in a row were in use on the node.",
        retryable=True,
        hint="Choose a range of VMIDs that nobody else uses: JOTUNHEIM_VMID_FIRST, JOTUNHEIM_VMID_LAST.",
    )
