"""Machines that somebody else has made: listing them, and making a server of one."""

from dataclasses import replace

from jotunheim.data.answers import ServerJob, UnmanagedList
from jotunheim.data.job import JobType
from jotunheim.data.paging import Paged
from jotunheim.data.server.importing import ImportRequest, UnmanagedView
from jotunheim.routes.call import Call, JobQuery, Reply
from jotunheim.routes.operations import Operations
from jotunheim.routes.queries import UnmanagedListQuery
from jotunheim.services import jobs
from jotunheim.services.nodes import nodes, unmanaged
from jotunheim.services.servers import importing

operations = Operations("/admin", role="admin")


def _look_around(call: Call[None, UnmanagedListQuery]) -> Paged[UnmanagedView]:
    query = call.query
    wanted = unmanaged.Wanted(query.vmid, query.name, query.status, query.kind, query.importable)
    return unmanaged.list_unmanaged(
        nodes.find(call.path["id"]),
        wanted,
        query.wanted_page(),
        call.context.keyring,
        call.context.settings,
    )


@operations.get(
    "/nodes/{id:row}/unmanaged",
    scope="nodes:read",
    answer=UnmanagedList,
    query=UnmanagedListQuery,
    prepare=_look_around,
)
def list_unmanaged(call: Call[None, UnmanagedListQuery]) -> Reply:
    """List the VMs and containers on a node that are none of our servers, as the node has them."""
    found: Paged[UnmanagedView] = call.prepared
    return Reply(UnmanagedList.model_validate({"vms": found.items, "meta": found.meta()}))


def _look(call: Call[ImportRequest, JobQuery]) -> importing.Found:
    return importing.look(call.body, call.context.keyring, call.context.settings)


@operations.job("/servers/import", JobType.IMPORT, body=ImportRequest, answer=ServerJob, prepare=_look)
def import_server(call: Call[ImportRequest, JobQuery]) -> Reply:
    """Make a server of a VM that somebody else has made; without `confirm`, only find out what that would change."""
    confirmed = call.body.confirm or call.manner.plan is not None
    manner = call.manner if confirmed else replace(call.manner, check=True)
    made = importing.import_server(call.body, call.prepared, call.actor, manner)
    answer = ServerJob(server=made.view, job=jobs.view(made.job))
    return Reply(answer, location=f"/api/v1/admin/jobs/{made.job.id}", wakes=(made.job.id,))
