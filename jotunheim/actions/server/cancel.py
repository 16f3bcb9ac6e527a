"""Ends interrupted jobs: what they made so far is taken back or kept, and our records say what is so.

Each function runs after the job's own run has been stopped, perhaps by another worker, and may itself be interrupted and
run again. `job.cancel_requested` says what is wanted.
"""

from collections.abc import Callable
from typing import Any

from jotunheim.actions.context import ActionContext
from jotunheim.actions.server import configure, delete, firewall, rebuild, snapshots, suspension
from jotunheim.actions.server.playbook import INFO, load, read_back, run_playbook, succeed
from jotunheim.ansible import runner, variables
from jotunheim.ansible.asserted import asserted
from jotunheim.data.job import OnCancel
from jotunheim.data.server.status import Power
from jotunheim.exceptions import JotunheimError
from jotunheim.exceptions.service import ServerDeploymentError
from jotunheim.repositories.peewee.addresses import Address
from jotunheim.repositories.peewee.departure import forget
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.repositories.peewee.pve_tasks import PveTask
from jotunheim.repositories.peewee.restores import has_broken_off
from jotunheim.repositories.peewee.secrets import Secret
from jotunheim.repositories.peewee.servers import Server

SETTLE = "server_settle.yml"
BUILD = "server_build_cancel.yml"
REBUILD = "server_rebuild_cancel.yml"
ABANDON = "Give the rebuild up"
NOT_OURS = "vm_not_ours"


class TooLateError(JotunheimError):
    """The work is past the point from which there is a way back; it goes to its end."""

    code = "conflict"


def settle(job: Job, context: ActionContext) -> None:
    """Let what was begun come to its end, or stop it, and record whether the VM runs.

    Raises:
        ServerDeploymentError: the run failed.
        LeaseLostError: the job belongs to another worker now.
    """
    _settle(job, context, lambda server, vm: server.record_power(Power(vm["status"])), stop=not keeps(job))


def take_back_build(job: Job, context: ActionContext) -> None:
    """Destroy what there is of the VM and forget the server; or keep both, as a build that failed. Raises as `settle`."""
    server = load(job)
    if keeps(job):
        _keep_build(job, context)
        return
    given = {
        **_tasks(job, stop=True),
        **variables.pve_delete(
            server, server.node, purge=True, backups=False, is_unmarked=has_broken_off(server)
        ),
    }
    try:
        told = run_playbook(BUILD, job, server, context, given).results
    except runner.TaskFailedError as error:
        if error.code != NOT_OURS:  # somebody else's VM has the VMID: ours was never made
            raise
    else:
        delete.assert_gone(told)
    succeed(job, lambda: forget(server))


def _keep_build(job: Job, context: ActionContext) -> None:
    def record(server: Server, vm: dict[str, Any]) -> None:
        server.record_power(Power(vm["status"]) if vm.get("exists") else Power.UNKNOWN)
        server.mark_build_failed()

    try:
        _settle(job, context, record, stop=False, must_exist=False)
    except runner.TaskFailedError as error:
        if error.code != NOT_OURS:
            raise
        succeed(job, load(job).mark_build_failed)


def assert_change(job: Job, context: ActionContext) -> None:
    """Configure the VM as it is recorded, without a restart: as before the change, or as it was asked for.

    What grew stays large: a disk does not shrink, and its size is read back. Raises as `settle`.
    """
    wait(job, context)
    server, asked, is_kept = load(job), job.parameters, keeps(job)
    fields = set(asked["fields"]) or set(asserted(server))
    if not is_kept:
        fields.discard("disk_bytes")
    ids = Address.ids_of(server)
    if "addresses" in fields:
        ids = asked["addresses_after" if is_kept else "addresses_before"]
    result = configure.apply(job, context, server, fields, Address.by_ids(ids), restart="never")
    succeed(job, lambda: configure.record(server, result, ids))


def assert_firewall(job: Job, context: ActionContext) -> None:
    """Set the VM's firewall as it is recorded: as before the change, or as it was asked for. Raises as `settle`."""
    wait(job, context)
    server = load(job)
    firewall.apply(job, context, server, firewall.render(server, Address.of([server]).get(server.id, [])))


def give_rebuild_up(job: Job, context: ActionContext) -> None:
    """Leave the server its old disk; the new one goes, or waits for another attempt. Raises as `settle`.

    Raises:
        TooLateError: the disks are being swapped already.
    """
    server, is_kept = load(job), keeps(job)
    given = {
        **_tasks(job, stop=not is_kept),
        **rebuild.made_from(job, server, keep_scratch=is_kept),
        **variables.pve_info(context.settings),
    }
    result = run_playbook(REBUILD, job, server, context, given)
    if not result.tasks[ABANDON].get("abandoned"):
        raise TooLateError("The disks are being swapped already.")

    def record() -> None:
        server.mark_rebuild_failed()
        server.record_power(Power(read_back(server, result)["status"]))
        if not is_kept:
            server.change(scratch_vmid=None)
            Secret.erase(server.password_reference)

    succeed(job, record)


def take_back_snapshot(job: Job, context: ActionContext) -> None:
    """Delete what there is of a new snapshot; or let it be finished. Raises as `settle`."""
    if keeps(job):
        settle(job, context)
        return
    wait(job, context, stop=True)
    snapshots.delete(job, context)


def stop_rollback(job: Job, context: ActionContext) -> None:
    """Let the rollback itself come to its end, and assert our configuration, which went back too; nothing is started.

    Raises as `settle`.
    """
    wait(job, context)
    server = load(job)
    addresses = Address.of([server]).get(server.id, [])
    result = configure.apply(job, context, server, asserted(server), addresses, restart="never")
    succeed(job, lambda: server.record_power(Power(read_back(server, result)["status"])))


def stop_delete(job: Job, context: ActionContext) -> None:
    """Leave what is left of the VM. Raises as `settle`.

    Raises:
        TooLateError: nothing is left.
    """

    def record(server: Server, vm: dict[str, Any]) -> None:
        if not vm.get("exists"):
            raise TooLateError("The VM is gone already.")
        server.mark_delete_failed()
        server.record_power(Power(vm["status"]))

    _settle(job, context, record, stop=False, must_exist=False)


def take_back_suspension(job: Job, context: ActionContext) -> None:
    """Bring the server back to what it was before; or leave it suspended, as far as it came. Raises as `settle`."""
    if keeps(job):
        settle(job, context)
        return
    wait(job, context)
    server = load(job)
    if server.suspended_from is None:  # it was not touched yet
        succeed(job, server.unsuspend)
    else:
        suspension.unsuspend(job, context)


def take_back_unsuspension(job: Job, context: ActionContext) -> None:
    """Stop the server again; or leave it as far as it came, still suspended. Raises as `settle`."""
    if keeps(job):
        settle(job, context)
        return
    wait(job, context)
    suspension.suspend(job, context)


def forget_password(job: Job, context: ActionContext) -> None:
    """Forget the new password; whether the guest has it already is not known."""
    del context
    server = load(job)
    succeed(
        job,
        lambda: Secret.erase(server.password_reference),
        {"account": server.account, "applied": "unknown"},
    )


def keeps(job: Job) -> bool:
    """Whether what the job has made so far stays."""
    return job.cancel_requested == OnCancel.KEEP


def _tasks(job: Job, *, stop: bool) -> dict[str, Any]:
    return variables.pve_settle(PveTask.of([job]).get(job.id, []), stop=stop)


def wait(job: Job, context: ActionContext, *, stop: bool = False) -> dict[str, Any]:
    """What there is of the VM, once nothing works on it any more."""
    given = {**_tasks(job, stop=stop), **variables.pve_info(context.settings)}
    result = run_playbook(SETTLE, job, load(job), context, given)
    vm: dict[str, Any] = dict(result.results.get(INFO, {}).get("vm", {}))
    return vm


def _settle(
    job: Job,
    context: ActionContext,
    record: Callable[[Server, dict[str, Any]], None],
    *,
    stop: bool,
    must_exist: bool = True,
) -> None:
    vm = wait(job, context, stop=stop)
    server = load(job)
    if must_exist and not vm.get("exists"):
        raise ServerDeploymentError(
            "read_back_failed", f"The node does not show the VM of {server.name}.", retryable=True
        )
    succeed(job, lambda: record(server, vm))
