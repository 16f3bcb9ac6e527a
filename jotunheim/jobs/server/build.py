"""`server.build`: makes the VM of a server that was recorded."""

import logging
from collections.abc import Callable, Iterable

from jotunheim.actions.context import ActionContext
from jotunheim.actions.server import build
from jotunheim.actions.server.playbook import VmidTakenError, load
from jotunheim.data.job import JobType
from jotunheim.data.server.status import ServerStatus
from jotunheim.exceptions import JotunheimError
from jotunheim.exceptions.service import ServerDeploymentError
from jotunheim.jobs.kind import JobKind
from jotunheim.repositories.peewee.database import transaction
from jotunheim.repositories.peewee.infrastructure import Node
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.repositories.peewee.servers import Server
from jotunheim.services.proxmox import vmids
from jotunheim.settings import Settings

VMID_ATTEMPTS = 5
"""How often a build takes another VMID because the node uses the first for something else."""

log = logging.getLogger(__name__)


def run(job: Job, context: ActionContext) -> None:
    """Build the server; a VMID that the node already uses for something else is replaced."""
    if job.check_only:
        build.preview(job, context)
        return
    with_free_vmid(job, context, build.build, vmids.replace)


def with_free_vmid(
    job: Job,
    context: ActionContext,
    act: Callable[[Job, ActionContext], None],
    replace: Callable[[Server, Node, Iterable[int], Settings], int],
) -> None:
    """Carry out an action; when the node uses its VMID for something else, replace that and begin again.

    Raises:
        ServerDeploymentError: several VMIDs in a row were in use, or what the action raises.
    """
    for _ in range(VMID_ATTEMPTS):
        try:
            act(job, context)
        except VmidTakenError as error:
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


def start(job: Job) -> None:
    """Record that the server is being built, also when that is tried again."""
    load(job).mark_building()


def fail(job: Job, error: JotunheimError) -> None:
    """Record that there is no server."""
    del error
    server: Server | None = job.server
    if server is not None and server.status == ServerStatus.BUILDING:
        server.mark_build_failed()


KIND = JobKind(JobType.BUILD, run, start, fail)
