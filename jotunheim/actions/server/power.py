"""Starts, stops and restarts servers."""

from jotunheim.actions.context import ActionContext
from jotunheim.actions.server.playbook import load, read_back, run_playbook, succeed
from jotunheim.ansible import variables
from jotunheim.data.server.status import Power, PowerAction
from jotunheim.repositories.peewee.jobs import Job

PLAYBOOK = "server_power.yml"
STATES = {
    PowerAction.START: ("started", Power.RUNNING),
    PowerAction.SHUTDOWN: ("shutdown", Power.STOPPED),
    PowerAction.STOP: ("stopped", Power.STOPPED),
    PowerAction.REBOOT: ("rebooted", Power.RUNNING),
    PowerAction.RESET: ("reset", Power.RUNNING),
}
"""For each action the role's word for the wanted state, and what the VM must be afterwards."""


def change_power(job: Job, context: ActionContext) -> None:
    """Bring a server to the power state that its job asks for.

    Raises:
        ServerDeploymentError: the run failed, or the VM is not in the wanted state afterwards.
        LeaseLostError: the job belongs to another worker now.
    """
    server = load(job)
    state, wanted = STATES[PowerAction(job.parameters["action"])]
    given = {
        **variables.pve_power(
            state, timeout_seconds=job.parameters["timeout_seconds"], force=job.parameters["force"]
        ),
        **variables.pve_info(context.settings),
    }
    result = run_playbook(PLAYBOOK, job, server, context, given)
    succeed(job, lambda: server.record_power(Power(read_back(server, result, wanted)["status"])))
