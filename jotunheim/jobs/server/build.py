"""`server.build`: makes the VM of a server that was recorded."""

import logging

from jotunheim.actions.context import ActionContext
from jotunheim.actions.server import build
from jotunheim.exceptions import JotunheimError
from jotunheim.exceptions.service import ServerDeploymentError
from jotunheim.jobs.kind import JobKind
from jotunheim.repositories.peewee.database import transaction
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.repositories.peewee.servers import Server
from jotunheim.services.proxmox import vmids

VMID_ATTEMPTS = 5
"""How often a build takes another VMID because the node uses the first for something else."""

log = logging.getLogger(__name__)


def run(job: Job, context: ActionContext) -> None:
    """Build the server; a VMID that the node already uses for something else is replaced."""
    for _ in range(VMID_ATTEMPTS):
        try:
            build.build(job, context)
        except build.VmidTakenError as error:
            server = build.load(job)
            with transaction():
                job.assert_lease()
                vmid = vmids.replace(server, server.node, error.taken_vmids, context.settings)
            log.info(
                "VMID %s is in use on %s; server %s gets %s.", error.vmid, server.node.name, server.id, vmid
            )
        else:
            return
    raise ServerDeploymentError(
        "vmid_taken",
        f"{VMID_ATTEMPTS} VMIDs in a row were in use on the node.",
        retryable=True,
        hint="Choose a range of VMIDs that nobody else uses: JOTUNHEIM_VMID_FIRST, JOTUNHEIM_VMID_LAST.",
    )


def fail(job: Job, error: JotunheimError) -> None:
    """Record that there is no server."""
    del error
    server: Server | None = job.server
    if server is not None:
        server.mark_build_failed()


KIND = JobKind(type="server.build", run=run, fail=fail)
