"""Stops suspended servers and keeps them stopped; brings them back to what they were before."""

from jotunheim.actions.context import ActionContext
from jotunheim.actions.server.playbook import load, read_back, run_playbook, succeed
from jotunheim.ansible import variables
from jotunheim.data.server.status import Power
from jotunheim.repositories.peewee.jobs import Job

SUSPEND = "server_suspend.yml"
UNSUSPEND = "server_unsuspend.yml"


def suspend(job: Job, context: ActionContext) -> None:
    """Stop a server, and let it not start with its node.

    Raises:
        ServerDeploymentError: the run failed, or the VM runs afterwards.
        LeaseLostError: the job belongs to another worker now.
    """
    server = load(job)
    given = {
        **variables.pve_autostart(onboot=False),
        **variables.pve_power("stopped"),
        **variables.pve_info(context.settings),
        **variables.unseen(job),
    }
    result = run_playbook(SUSPEND, job, server, context, given)

    def record() -> None:
        read_back(server, result, Power.STOPPED)
        server.record_power(Power.STOPPED)

    succeed(job, record)


def unsuspend(job: Job, context: ActionContext) -> None:
    """Let a server start with its node again, and start it if it ran before.

    Raises:
        ServerDeploymentError: the run failed, or the VM is not what it was before.
        LeaseLostError: the job belongs to another worker now.
    """
    server = load(job)
    before = Power((server.suspended_from or {}).get("power", Power.STOPPED))
    given = {
        **variables.pve_autostart(onboot=True),
        **variables.pve_power("started" if before is Power.RUNNING else "stopped"),
        **variables.pve_info(context.settings),
    }
    result = run_playbook(UNSUSPEND, job, server, context, given)

    def record() -> None:
        read_back(server, result, before)
        server.record_power(before)
        server.unsuspend()

    succeed(job, record)
