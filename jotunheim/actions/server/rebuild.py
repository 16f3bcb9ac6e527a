"""Gives a server a new system disk: built aside, then swapped; the old one goes when the new one is good."""

from typing import Any

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
from jotunheim.repositories.peewee.database import transaction
from jotunheim.repositories.peewee.infrastructure import Template
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.repositories.peewee.secrets import Secret
from jotunheim.repositories.peewee.servers import Server

PLAYBOOK = "server_rebuild.yml"
PREPARE = "Clone the template aside"
SWAP = "Swap the disks"


def rebuild(job: Job, context: ActionContext) -> None:
    """Run the playbook for a claimed job; at the end the server runs from its new disk.

    Result: `{"snapshots_destroyed": [names], "backups": "kept"}`.

    Raises:
        VmidTakenError: the new disk needs another VMID to be made under; nothing was made.
        ServerDeploymentError: the run failed; unless it says otherwise, the old disk is still in place.
        LeaseLostError: the job belongs to another worker now.
    """
    server = load(job)
    asked = job.parameters
    password = password_of(job, server)
    if password is None:
        raise ServerDeploymentError(
            "password_erased", "The new password is gone; nothing was done.", hint="Ask for a new rebuild."
        )
    made = made_from(job, server)
    template = server.made_from
    server.ssh_keys = asked["ssh_keys"]
    addresses = Address.of([server]).get(server.id, [])
    rendered = firewall.render(server, addresses)
    given = {
        **made,
        **rendered.variables,
        **variables.pve_config(
            server,
            server.node,
            addresses,
            password=password,
            renew_password=True,
            fields={"ssh_keys", "cloud_init", "addresses", "name", "disk_bytes"},
        ),
        **variables.pve_power("started"),
        **variables.pve_info(context.settings),
    }
    try:
        result = run_playbook(PLAYBOOK, job, server, context, given)
    except runner.TaskFailedError as error:
        if "taken_vmids" in error.result and server.scratch_vmid:
            raise VmidTakenError(server.scratch_vmid, error.result["taken_vmids"]) from None
        if error.task not in (PREPARE, SWAP) and not job.check_only:
            with transaction():
                job.assert_lease()
                server.change(template=template.id, ssh_keys=asked["ssh_keys"], imported=False)
        raise _with_disk(error) from None

    def record() -> None:
        vm = read_back(server, result, Power.RUNNING)
        server.mark_ready(Power.RUNNING, vm["disks"].get(vm["system_disk"]))
        server.change(template=template.id, ssh_keys=asked["ssh_keys"], imported=False, scratch_vmid=None)
        rendered.record(server)
        Secret.erase(server.password_reference)

    # Those that were there when it was asked for, and those that the node says: an earlier attempt may have been first.
    destroyed = dict.fromkeys([*asked["snapshots"], *result.tasks[SWAP].get("snapshots_destroyed", [])])
    succeed(job, record, {"snapshots_destroyed": list(destroyed), "backups": "kept"})


def made_from(job: Job, server: Server, *, keep_scratch: bool = False) -> dict[str, Any]:
    """The variables that say what the new disk is made from; the job's template becomes this object's.

    Args:
        keep_scratch: as for `variables.pve_rebuild`.

    Raises:
        ServerDeploymentError: the template is gone.
    """
    template = Template.with_node(job.parameters["template_id"])
    if template is None:
        raise ServerDeploymentError("not_found", "The template of this job is gone.")
    server.template = template
    return variables.pve_rebuild(
        server,
        server.node,
        scratch_vmid=server.scratch_vmid or job.parameters["scratch_vmid"],
        rebuild_id=str(job.id),
        destroy_snapshots=job.parameters["destroy_snapshots"],
        keep_scratch=keep_scratch,
    )


def _with_disk(error: runner.TaskFailedError) -> ServerDeploymentError:
    """The same failure, and which disk the server has, unless it says so in its own words."""
    if error.task == SWAP or "old disk" in error.message:
        return error
    says = (
        "The server was not touched: its old disk is in place."
        if error.task == PREPARE
        else "The server has its new disk; the old disk is kept until it runs from the new one."
    )
    return ServerDeploymentError(
        error.code, f"{error.message} {says}", retryable=error.retryable, hint=error.hint
    )
