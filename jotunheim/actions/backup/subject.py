"""What a job about a backup works on: the backup, its server, and the run of a playbook about the two."""

import uuid
from collections.abc import Mapping
from typing import Any

from jotunheim.actions.context import ActionContext
from jotunheim.actions.server.playbook import run_playbook
from jotunheim.ansible import variables
from jotunheim.exceptions.service import ServerDeploymentError
from jotunheim.repositories.peewee.backups import Backup
from jotunheim.repositories.peewee.database import locking
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.repositories.peewee.servers import Server

TASK = "jotunheim.pve.vm_backup"


def find(job: Job) -> Backup | None:
    """The job's backup with its node; within a transaction nobody else changes it until that ends."""
    query = Backup.with_node().where(Backup.id == uuid.UUID(job.parameters["backup_id"]))
    found: Backup | None = locking(query, Backup).first()
    return found


def load(job: Job) -> Backup:
    """The same.

    Raises:
        ServerDeploymentError: there is none any more.
    """
    backup = find(job)
    if backup is None:
        raise ServerDeploymentError("not_found", "The backup of this job is gone.")
    return backup


def run(
    playbook: str, state: str, job: Job, backup: Backup, context: ActionContext
) -> Mapping[str, Any] | None:
    """Run a playbook about one backup, on the node where it was made.

    Args:
        state: what is wanted, in the role's words.

    Returns:
        The backup as its storage lists it then; None: it does not.

    Raises:
        ServerDeploymentError: the run failed.
        LeaseLostError: the job belongs to another worker now.
    """
    timeout = context.settings.backup_timeout_seconds
    given = variables.pve_backup(state, backup, timeout)
    result = run_playbook(
        playbook,
        job,
        _server_of(backup),
        context,
        given,
        node=backup.node,
        timeout_seconds=run_seconds(context),
    )
    told: Mapping[str, Any] | None = result.results.get(TASK, {}).get("backup")
    return told


def run_seconds(context: ActionContext) -> int:
    """How long a run may take: as long as the backup itself, and then as long as any other."""
    return context.settings.backup_timeout_seconds + context.settings.job_timeout_seconds


def _server_of(backup: Backup) -> Server:
    """The backup's server, or one that is no row and stands for it: its backups are found by what it was."""
    found: Server | None = Server.with_places().where(Server.id == backup.server_id).first()
    return found or Server(id=backup.server_uuid, vmid=backup.vmid, name=backup.server_name, node=backup.node)
