"""Imports a server: marks the VM that somebody else has made, and reads it."""

from typing import Any

from jotunheim.actions.context import ActionContext
from jotunheim.actions.server.playbook import load, read_back, run_playbook, succeed
from jotunheim.ansible import runner, variables
from jotunheim.data.server.status import Power
from jotunheim.repositories.peewee.departure import forget
from jotunheim.repositories.peewee.infrastructure import Node
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.repositories.peewee.servers import Server

PLAYBOOK = "server_import.yml"
CANCEL = "server_import_cancel.yml"


def adopt(job: Job, context: ActionContext) -> None:
    """Run the playbook for a claimed job; at the end the VM is marked and the server ready.

    Result: `{"addresses_taken": [...], "addresses_left": [{"address", "reason"}], "uuid_kept": true}`: those that the server
    has from pools now, those that the VM has and the server does not, and whether the VM's own SMBIOS UUID is the server's.

    Raises:
        ServerDeploymentError: the run failed.
        LeaseLostError: the job belongs to another worker now.
    """
    server = load(job)
    result = _run(job, server, context)

    def record() -> None:
        vm = read_back(server, result)
        server.mark_ready(Power(vm["status"]), vm["disks"].get(vm["system_disk"]))
        server.change(description=vm["description"])

    succeed(job, record, _told(job))


def preview(job: Job, context: ActionContext) -> None:
    """Run the playbook in check mode for a server that is recorded nowhere but in the job. Raises as `adopt`."""
    server = Server(**job.parameters["server"])
    server.node = Node.get_by_id(server.node_id)
    _run(job, server, context)
    succeed(job, lambda: None, _told(job))


def take_back(job: Job, context: ActionContext) -> None:
    """Take the mark off the VM, and forget the server. Raises as `adopt`."""
    server = load(job)
    run_playbook(CANCEL, job, server, context, _variables(job))
    succeed(job, lambda: forget(server))


def _run(job: Job, server: Server, context: ActionContext) -> runner.HostResult:
    return run_playbook(PLAYBOOK, job, server, context, _variables(job))


def _variables(job: Job) -> dict[str, Any]:
    return variables.pve_adopt(job.parameters["found_uuid"], job.parameters["replaces"])


def _told(job: Job) -> dict[str, Any]:
    return {name: job.parameters[name] for name in ("addresses_taken", "addresses_left", "uuid_kept")}
