"""Runs one of the server playbooks for one job; what the actions on servers share."""

import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from jotunheim.actions.context import ActionContext
from jotunheim.actions.steps import StepRecorder
from jotunheim.ansible import content, inventory, playbooks, runner, variables
from jotunheim.ansible.inventory import SecretReference
from jotunheim.data.server.status import Power
from jotunheim.exceptions.repository import LeaseLostError
from jotunheim.exceptions.service import ServerDeploymentError
from jotunheim.repositories.peewee.addresses import Address
from jotunheim.repositories.peewee.database import locking, transaction
from jotunheim.repositories.peewee.infrastructure import Node
from jotunheim.repositories.peewee.job_runs import JobRun
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.repositories.peewee.secrets import Secret
from jotunheim.repositories.peewee.servers import Server
from jotunheim.repositories.proxmox.facts import Counters
from jotunheim.settings import Settings

DELETE = "jotunheim.pve.vm_delete"
INFO = "jotunheim.pve.vm_info"
PASSWORD = "jotunheim.pve.vm_password"  # noqa: S105 - the name of an action
RESTART = "jotunheim.pve.vm_restart"
NOT_SENT = "not sent in check mode"
"""Stands for a password in a preview, where none is stored."""


class VmidTakenError(ServerDeploymentError):
    """The node uses a VMID of ours for a VM that is not ours.

    Attributes:
        taken_vmids: all VMIDs that the node or its cluster uses, as far as the token sees them.
    """

    def __init__(self, vmid: int, taken_vmids: Iterable[Any]) -> None:
        super().__init__("vmid_taken", f"VMID {vmid} is in use on the node.", retryable=True)
        self.vmid = vmid
        self.taken_vmids = [int(taken) for taken in taken_vmids]


def load(job: Job) -> Server:
    """The job's server with its node and template; within a transaction nobody else changes it until that ends.

    Raises:
        ServerDeploymentError: there is none any more.
    """
    server: Server | None = locking(Server.with_places().where(Server.id == job.server_id), Server).first()
    if server is None:
        raise ServerDeploymentError("not_found", "The server of this job is gone.")
    return server


def password_of(job: Job, server: Server) -> SecretReference | str | None:
    """The password that the job hands over: a reference, or in a preview a stand-in; None: there is none."""
    if job.check_only:
        return NOT_SENT if job.parameters.get("with_password", True) else None
    return SecretReference(server.password_reference) if Secret.exists(server.password_reference) else None


def run_playbook(
    playbook: str,
    job: Job,
    server: Server,
    context: ActionContext,
    role_variables: Mapping[str, Any],
    *,
    node: Node | None = None,
    timeout_seconds: int | None = None,
) -> runner.HostResult:
    """Run a playbook for a claimed job's server; its tasks become the job's steps. A preview runs in check mode.

    What it is started with is recorded first: see `JobRun`.

    Args:
        node: whose API is spoken to; None: the server's.
        timeout_seconds: the longest that it may take; None: as the settings say.

    Returns:
        What became of the server's tasks.

    Raises:
        ServerDeploymentError: the run failed. A task's own error is its cause, as `TaskFailedError`.
        LeaseLostError: the job belongs to another worker now.
    """
    node = node or server.node
    name, host_variables = _inventory_host(server, node, context.settings, role_variables)
    recorder = StepRecorder(job, playbooks.step_count(playbook))
    wanted = runner.Run(
        playbook=playbook,
        hosts=[
            runner.Host(
                name=name,
                job_id=str(job.id),
                fence=job.fence,
                variables=host_variables,
                secrets=context.secrets_of(node, server.password_reference),
            )
        ],
        directory=context.settings.runs_dir / f"{job.id}.{job.fence}.{uuid.uuid4().hex[:8]}",
        timeout_seconds=timeout_seconds or context.settings.job_timeout_seconds,
        on_event=recorder.record,
        is_cancelled=lambda: context.interrupted or recorder.lease_lost,
        environment=context.run_environment,
        check=job.check_only,
    )
    _record(job, wanted)
    result = context.run(wanted)
    if recorder.lease_lost:
        raise LeaseLostError(f"Job {job.id} belongs to another worker now.")
    if not job.check_only:
        _count(server, node, result.hosts.get(name), context)
    return result.of(name)


def _count(server: Server, node: Node, host: runner.HostResult | None, context: ActionContext) -> None:
    """Tell what the tasks have seen the VM's process count: when they stop it, its counters go."""
    for result in host.tasks.values() if host else ():
        seen = result.get("counters")
        if isinstance(seen, Mapping):
            told = {name: value for name, value in seen.items() if name != "asked_at"}
            context.count(server.id, node, Counters(**told), datetime.fromtimestamp(seen["asked_at"], UTC))


def _record(job: Job, run: runner.Run) -> None:
    digest = content.digest(content.files(run.playbook))
    with transaction():
        job.assert_lease()
        JobRun.create(
            job=job,
            attempt=job.attempt,
            playbook=run.playbook,
            inventory=run.inventory,
            check_only=run.check,
            content_sha256=digest,
            versions=dict(content.versions()),
        )


def _inventory_host(
    server: Server, node: Node, settings: Settings, role_variables: Mapping[str, Any]
) -> tuple[str, dict[str, Any]]:
    """Name and variables of a server in an inventory, with secrets by reference."""
    name = f"server-{server.id}" if server.name in inventory.RESERVED_NAMES else server.name
    addresses = Address.of([server]).get(server.id, [])
    return name, {
        **variables.connection(server, node, settings),
        **variables.delegated_prefixes(addresses),
        **role_variables,
    }


def succeed(job: Job, record: Callable[[], object], result: Mapping[str, Any] | None = None) -> None:
    """End a job well, and record what is so now, in one transaction; a preview records nothing.

    A job that was to be cancelled, and whose work was taken back, ends cancelled.

    Args:
        record: checks what was read back and writes it down; what it raises undoes all.
        result: what a caller may want to know, see `Job.mark_succeeded`.
    """
    with transaction():
        job.assert_lease()
        if not job.check_only:
            record()
        if job.cancel_requested:
            job.mark_cancelled(result)
        else:
            job.mark_succeeded(result)


def read_back(server: Server, result: runner.HostResult, wanted: Power | None = None) -> Mapping[str, Any]:
    """What the last task read of the VM, when it is the one that was wanted.

    Args:
        wanted: whether the VM must run; None: either will do.

    Raises:
        ServerDeploymentError: it is not.
    """
    vm: Mapping[str, Any] = result.results.get(INFO, {}).get("vm", {})
    if not vm.get("exists") or not vm.get("owned"):
        raise ServerDeploymentError(
            "read_back_failed",
            f"After the run the node does not show the VM of {server.name}.",
            retryable=True,
        )
    if wanted is not None and vm.get("status") != wanted:
        raise ServerDeploymentError(
            "read_back_failed",
            f"After the run the VM is {vm.get('status')} and should be {wanted}.",
            retryable=True,
            hint="See the node's task log for why.",
        )
    return vm
