"""Destroys a server's VM, proves that it is gone, and forgets the server."""

from collections.abc import Mapping
from typing import Any

from jotunheim.actions.context import ActionContext
from jotunheim.actions.server.playbook import DELETE, load, run_playbook, succeed
from jotunheim.ansible import variables
from jotunheim.data.server.requests import Backups
from jotunheim.exceptions.service import ServerDeploymentError
from jotunheim.repositories.peewee.backups import Backup
from jotunheim.repositories.peewee.departure import forget
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.repositories.peewee.restores import has_broken_off

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
        is_unmarked=has_broken_off(server),
        kept_backups=Backup.volumes_in_use(server),
        is_elsewhere=bool(Backup.storages_of(server) - {server.node.backup_storage}),
    )
    results = run_playbook(PLAYBOOK, job, server, context, given).results
    told = results.get(DELETE, {})

    def record() -> None:
        assert_gone(results)
        Backup.forget_but(server, told.get("backups_kept", []), told.get("backup_storages", []))
        forget(server)

    succeed(job, record, {name: told.get(name, []) for name in ("backups_deleted", "backups_kept")})


def assert_gone(results: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise ServerDeploymentError unless a run's results prove that there is no VM any more."""
    if not results.get(DELETE, {}).get("deleted"):
        raise ServerDeploymentError(
            "read_back_failed", "It was not proved that the VM is gone.", retryable=True
        )
