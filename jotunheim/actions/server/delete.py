"""Destroys a server's VM, proves that it is gone, and forgets the server."""

from jotunheim.actions.context import ActionContext
from jotunheim.actions.server.playbook import DELETE, load, run_playbook, succeed
from jotunheim.ansible import variables
from jotunheim.data.server.requests import Backups
from jotunheim.exceptions.service import ServerDeploymentError
from jotunheim.repositories.peewee.addresses import Address
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.repositories.peewee.secrets import Secret

PLAYBOOK = "server_delete.yml"


def delete(job: Job, context: ActionContext) -> None:
    """Run the playbook for a claimed job; at the end there is no VM, and no server in our records.

    Addresses and VMID go back to where they came from in the same moment in which the job succeeds.

    Result: `{"backups_deleted": [volumes], "backups_kept": [volumes]}`.

    Raises:
        ServerDeploymentError: the run failed, or it was not proved that the VM is gone.
        LeaseLostError: the job belongs to another worker now.
    """
    server = load(job)
    given = variables.pve_delete(
        server,
        server.node,
        purge=job.parameters["purge"],
        backups=job.parameters["backups"] == Backups.DELETE,
    )
    told = run_playbook(PLAYBOOK, job, server, context, given).results.get(DELETE, {})

    def record() -> None:
        if not told.get("deleted"):
            raise ServerDeploymentError(
                "read_back_failed", "It was not proved that the VM is gone.", retryable=True
            )
        Job.cancel_scheduled(server)
        Address.release(server)
        Secret.erase(server.password_reference)
        server.delete_instance()

    succeed(job, record, {name: told.get(name, []) for name in ("backups_deleted", "backups_kept")})
