"""Builds a server: clones its template or restores a backup, configures and starts the VM, and reads it back."""

from typing import Any

from jotunheim.actions.backup.subject import run_seconds
from jotunheim.actions.context import ActionContext
from jotunheim.actions.server import firewall
from jotunheim.actions.server.playbook import (
    VmidTakenError,
    load,
    password_of,
    read_back,
    run_playbook,
    succeed,
)
from jotunheim.ansible import runner, variables
from jotunheim.data.server.status import Power
from jotunheim.exceptions.service import ServerDeploymentError
from jotunheim.repositories.peewee.addresses import Address
from jotunheim.repositories.peewee.backups import Backup
from jotunheim.repositories.peewee.infrastructure import Node
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.repositories.peewee.secrets import Secret
from jotunheim.repositories.peewee.servers import Server

PLAYBOOK = "server_build.yml"
FROM_BACKUP = "server_build_from_backup.yml"


def build(job: Job, context: ActionContext) -> None:
    """Run the playbook for a claimed job; at the end server and job say what is so.

    Raises:
        VmidTakenError: the server needs another VMID; nothing was made.
        ServerDeploymentError: the run failed, or what was read back is not what was wanted.
        LeaseLostError: the job belongs to another worker now.
    """
    server = load(job)
    result = _run(job, server, Address.of([server]).get(server.id, []), context)

    def record() -> None:
        vm = read_back(server, result, Power.RUNNING if server.start_after_build else Power.STOPPED)
        server.mark_ready(Power(vm["status"]), vm["disks"].get(vm["system_disk"]))
        Secret.erase(server.password_reference)

    succeed(job, record)


def preview(job: Job, context: ActionContext) -> None:
    """Run the playbook in check mode for a server that is recorded nowhere but in the job.

    Raises:
        ServerDeploymentError: the run failed.
        LeaseLostError: the job belongs to another worker now.
    """
    server = Server(**job.parameters["server"])
    server.node = Node.get_by_id(server.node_id)
    _run(job, server, Address.by_ids(job.parameters["addresses"]), context)
    succeed(job, lambda: None)


def _run(job: Job, server: Server, addresses: list[Address], context: ActionContext) -> runner.HostResult:
    restored = server.restored_from is not None
    given = {
        **variables.delegated_prefixes(addresses),  # a preview's are not recorded
        **firewall.render(server, addresses).variables,
        **(_restored(server, context) if restored else variables.pve_clone(server, server.node)),
        **variables.pve_config(server, server.node, addresses, password=password_of(job, server)),
        **variables.pve_power("started" if server.start_after_build else "stopped"),
        **variables.pve_info(context.settings),
    }
    try:
        return run_playbook(
            FROM_BACKUP if restored else PLAYBOOK,
            job,
            server,
            context,
            given,
            timeout_seconds=run_seconds(context) if restored else None,
        )
    except runner.TaskFailedError as error:
        if "taken_vmids" in error.result:
            raise VmidTakenError(server.vmid, error.result["taken_vmids"]) from None
        raise


def _restored(server: Server, context: ActionContext) -> dict[str, Any]:
    """The variables that make it from its backup."""
    backup = Backup.with_node().where(Backup.id == server.restored_from).first()
    if backup is None or backup.volume is None:
        raise ServerDeploymentError("backup_not_found", "The backup that the server is made from is gone.")
    timeout = context.settings.backup_timeout_seconds
    return variables.pve_restore_new(server, server.node, backup.volume, backup.server_uuid, timeout)
