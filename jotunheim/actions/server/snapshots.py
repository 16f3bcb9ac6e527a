"""Makes snapshots of servers, returns to them, and deletes them."""

from collections.abc import Mapping
from typing import Any

from jotunheim.actions.context import ActionContext
from jotunheim.actions.server.playbook import load, read_back, run_playbook, succeed
from jotunheim.ansible import variables
from jotunheim.ansible.asserted import asserted
from jotunheim.data.server.status import Power
from jotunheim.repositories.peewee.addresses import Address
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.repositories.peewee.servers import Server

CREATE = "snapshot_create.yml"
ROLLBACK = "snapshot_rollback.yml"
DELETE = "snapshot_delete.yml"


def create(job: Job, context: ActionContext) -> None:
    """Make a snapshot, unless the server has as many as it may have.

    Raises:
        ServerDeploymentError: the run failed.
        LeaseLostError: the job belongs to another worker now.
    """
    server = load(job)
    limit = server.limits.get("snapshots")
    _run(CREATE, job, server, context, variables.pve_snapshot("present", **job.parameters, limit=limit))


def delete(job: Job, context: ActionContext) -> None:
    """Delete a snapshot. Raises as `create` does."""
    _run(DELETE, job, load(job), context, variables.pve_snapshot("absent", **job.parameters))


def roll_back(job: Job, context: ActionContext) -> None:
    """Return to a snapshot. Raises as `create` does.

    The configuration returns with it: addresses, for one, that the server has given back since. So what is recorded
    is asserted before the server starts.
    """
    server = load(job)
    asked = job.parameters
    given = {
        **variables.pve_snapshot("rolled_back", asked["name"]),
        **variables.pve_config(
            server, server.node, Address.of([server]).get(server.id, []), fields=asserted(server)
        ),
        **variables.pve_power("started" if asked["start"] else "stopped"),
    }
    _run(ROLLBACK, job, server, context, given)


def _run(playbook: str, job: Job, server: Server, context: ActionContext, given: Mapping[str, Any]) -> None:
    result = run_playbook(playbook, job, server, context, {**given, **variables.pve_info(context.settings)})

    def record() -> None:
        vm = read_back(server, result)
        server.record_power(Power(vm["status"]))
        server.change(disk_bytes=vm["disks"].get(vm["system_disk"]) or server.disk_bytes)

    succeed(job, record)
