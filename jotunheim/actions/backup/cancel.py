"""Ends interrupted jobs about backups; see `actions.server.cancel`."""

from jotunheim.actions.backup import create, delete
from jotunheim.actions.context import ActionContext
from jotunheim.actions.server.cancel import TooLateError, keeps, wait
from jotunheim.actions.server.playbook import load, succeed
from jotunheim.data.server.status import Power, ServerStatus
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.repositories.peewee.restores import has_taken_disks


def take_back(job: Job, context: ActionContext) -> None:
    """Stop a backup that is being made, and remove it if it is there already; or let it be finished.

    Raises:
        ServerDeploymentError: the run failed.
        LeaseLostError: the job belongs to another worker now.
    """
    if keeps(job):
        create.create(job, context)
        return
    wait(job, context, stop=True)
    delete.delete(job, context)


def go_on(job: Job, context: ActionContext) -> None:
    """Raise TooLateError: what takes a moment goes to its end."""
    del context
    raise TooLateError(f"Job {job.id} is about to end.")


def stop_restore(job: Job, context: ActionContext) -> None:
    """Leave the server what it is, as long as its disks are there. Raises as `take_back`.

    Raises:
        TooLateError: the disks are being replaced.
    """
    if has_taken_disks(job):
        raise TooLateError("The disks are being replaced already.")
    vm = wait(job, context, stop=False)

    def record() -> None:
        server = load(job)
        server.mark_kept(ServerStatus(job.parameters["status_before"]))
        server.record_power(Power(vm.get("status", "")))

    succeed(job, record)
