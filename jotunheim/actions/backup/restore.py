"""Puts servers back to their backups."""

from jotunheim.actions.backup import subject
from jotunheim.actions.context import ActionContext
from jotunheim.actions.server import firewall
from jotunheim.actions.server.playbook import load, read_back, run_playbook, succeed
from jotunheim.ansible import runner, variables
from jotunheim.ansible.asserted import asserted
from jotunheim.data.server.status import Power
from jotunheim.exceptions.service import ServerDeploymentError
from jotunheim.repositories.peewee.addresses import Address
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.repositories.peewee.restores import has_broken_off, has_taken_disks

PLAYBOOK = "backup_restore.yml"
TASK = "jotunheim.pve.vm_restore"


def restore(job: Job, context: ActionContext) -> None:
    """Put a server back to a backup, assert what is recorded of it, which went back too, and bring it to its power state.

    Its size is that of the backup's disk, its host name, resources, addresses and firewall are those of today.

    Result: `{"snapshots_destroyed": [names]}`.

    Raises:
        ServerDeploymentError: the run failed; it says whether the server is what it was.
        LeaseLostError: the job belongs to another worker now.
    """
    server, backup, asked = load(job), subject.load(job), job.parameters
    if backup.volume is None:
        raise ServerDeploymentError("backup_not_found", "The backup has no volume.")
    addresses = Address.of([server]).get(server.id, [])
    rendered = firewall.render(server, addresses)
    wanted = Power.RUNNING if asked["start"] else Power.STOPPED
    timeout = context.settings.backup_timeout_seconds
    given = {
        **variables.pve_restore(
            backup.volume,
            str(job.id),
            stop=asked["stop"],
            destroy_snapshots=asked["destroy_snapshots"],
            is_unmarked=has_broken_off(server),
            timeout_seconds=timeout,
        ),
        **rendered.variables,
        **variables.pve_config(server, server.node, addresses, fields=asserted(server)),
        **variables.pve_power("started" if asked["start"] else "stopped"),
        **variables.pve_info(context.settings),
    }
    try:
        result = run_playbook(
            PLAYBOOK, job, server, context, given, timeout_seconds=subject.run_seconds(context)
        )
    except runner.TaskFailedError as error:
        raise _with_state(job, error) from None

    def record() -> None:
        vm = read_back(server, result, wanted)
        server.mark_ready(wanted, vm["disks"].get(vm["system_disk"]) or server.disk_bytes)
        rendered.record(server)

    destroyed = result.results.get(TASK, {}).get("snapshots_destroyed", [])
    succeed(job, record, {"snapshots_destroyed": destroyed})


def _with_state(job: Job, error: runner.TaskFailedError) -> ServerDeploymentError:
    says = (
        "The server may not be whole any more: retry this job, or restore another backup."
        if has_taken_disks(job)
        else "The server is what it was."
    )
    return ServerDeploymentError(
        error.code, f"{error.message}\n{says}", retryable=error.retryable, hint=error.hint
    )
