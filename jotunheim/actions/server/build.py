"""Builds a server: clones its template, configures and starts the VM, and reads it back."""

import uuid
from collections.abc import Mapping
from typing import Any

from jotunheim.actions.context import ActionContext
from jotunheim.actions.steps import StepRecorder
from jotunheim.ansible import inventory, playbooks, runner, variables
from jotunheim.data.server.status import Power
from jotunheim.exceptions.repository import LeaseLostError
from jotunheim.exceptions.service import ServerDeploymentError
from jotunheim.repositories.peewee.addresses import Address
from jotunheim.repositories.peewee.database import transaction
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.repositories.peewee.secrets import Secret
from jotunheim.repositories.peewee.servers import Server
from jotunheim.settings import Settings

PLAYBOOK = "server_build.yml"
CLONE = "jotunheim.pve.vm_clone"
INFO = "jotunheim.pve.vm_info"


class VmidTakenError(ServerDeploymentError):
    """The node uses the server's VMID for a VM that is not ours.

    Attributes:
        taken_vmids: all VMIDs that the node or its cluster uses, as far as the token sees them.
    """

    def __init__(self, vmid: int, taken_vmids: list[int]) -> None:
        super().__init__("vmid_taken", f"VMID {vmid} is in use on the node.", retryable=True)
        self.vmid = vmid
        self.taken_vmids = taken_vmids


def build(job: Job, context: ActionContext) -> None:
    """Run the playbook for a claimed job; at the end server and job say what is so.

    Raises:
        VmidTakenError: the server needs another VMID; nothing was made.
        ServerDeploymentError: the run failed, or what was read back is not what was wanted.
        LeaseLostError: the job belongs to another worker now.
    """
    server = load(job)
    name, host_variables = inventory_host(server, context.settings)
    recorder = StepRecorder(job, playbooks.step_count(PLAYBOOK))
    result = runner.run(
        runner.Run(
            playbook=PLAYBOOK,
            hosts=[
                runner.Host(
                    name=name,
                    job_id=str(job.id),
                    fence=job.fence,
                    variables=host_variables,
                    secrets=context.secrets_of(server.node, server.password_reference),
                )
            ],
            directory=context.settings.runs_dir / f"{job.id}.{job.fence}.{uuid.uuid4().hex[:8]}",
            timeout_seconds=context.settings.job_timeout_seconds,
            on_event=recorder.record,
            is_cancelled=lambda: context.stop.is_set() or recorder.lease_lost,
            environment=context.run_environment,
        )
    )
    if recorder.lease_lost:
        raise LeaseLostError(f"Job {job.id} belongs to another worker now.")
    failure = result.hosts[name].failure
    if failure is not None and failure.action == CLONE and "taken_vmids" in failure.result:
        raise VmidTakenError(server.vmid, [int(vmid) for vmid in failure.result["taken_vmids"]])
    vm = _read_back(server, result.of(name))
    with transaction():
        job.mark_succeeded()
        server.mark_ready(Power(vm["status"]), vm["disks"].get(vm["system_disk"]))
        Secret.erase(server.password_reference)


def load(job: Job) -> Server:
    """The job's server with its node and template.

    Raises:
        ServerDeploymentError: there is none any more.
    """
    server: Server | None = Server.with_places({}).where(Server.id == job.server_id).first()
    if server is None:
        raise ServerDeploymentError("not_found", "The server of this job is gone.")
    return server


def inventory_host(server: Server, settings: Settings) -> tuple[str, dict[str, Any]]:
    """Name and variables of a server in the inventory of a build, with secrets by reference."""
    addresses = Address.of([server]).get(server.id, [])
    name = f"server-{server.id}" if server.name in inventory.RESERVED_NAMES else server.name
    return name, {
        **variables.connection(server, server.node, settings),
        **variables.pve_clone(server, server.node),
        **variables.pve_config(
            server, server.node, addresses, has_password=Secret.exists(server.password_reference)
        ),
        **variables.pve_power(server),
        **variables.pve_info(settings),
    }


def _read_back(server: Server, result: runner.HostResult) -> Mapping[str, Any]:
    """What the last task read of the VM, when it is the one that was wanted."""
    vm: Mapping[str, Any] = result.results.get(INFO, {}).get("vm", {})
    wanted_status = "running" if server.start_after_build else "stopped"
    if not vm.get("exists") or not vm.get("owned"):
        raise ServerDeploymentError(
            "read_back_failed", "After the build the node does not show our VM.", retryable=True
        )
    if vm.get("status") != wanted_status:
        raise ServerDeploymentError(
            "read_back_failed",
            f"After the build the VM is {vm.get('status')} and should be {wanted_status}.",
            retryable=True,
            hint="See the node's task log for why the VM stopped.",
        )
    return vm
