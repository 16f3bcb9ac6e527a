"""What nodes tell about themselves: asking them, their storages, and how they were used."""

from pydantic import AwareDatetime

from jotunheim.data.answers import JobAnswer, StorageList, UsageList
from jotunheim.data.job import JobType
from jotunheim.repositories.peewee.node_state import RESOLUTIONS
from jotunheim.routes.call import Call, NoQuery, Reply
from jotunheim.routes.operations import Operations
from jotunheim.routes.queries import StorageListQuery
from jotunheim.services import jobs
from jotunheim.services.nodes import nodes, requests, state

operations = Operations("/admin", role="admin")


class UsageQuery(NoQuery):
    """Which part of a node's history is wanted."""

    resolution_seconds: int = min(RESOLUTIONS)
    """60, kept for a day, or 1800, kept for 30 days."""
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None


@operations.post("/nodes/{id:row}/sync", scope="nodes:write", answer=JobAnswer, status=202)
def sync_node(call: Call[None, NoQuery]) -> Reply:
    """Ask a node what it has: processors, memory, storages, bridges, templates and VMs. Workers do so every minute, too."""
    job = requests.enqueue_one(nodes.find(call.path["id"]), JobType.NODE_SYNC, call.actor)
    return Reply(JobAnswer(job=jobs.view(job)), location=f"/api/v1/admin/jobs/{job.id}", wakes=(job.id,))


@operations.get("/nodes/{id:row}/storages", scope="nodes:read", answer=StorageList, query=StorageListQuery)
def list_storages(call: Call[None, StorageListQuery]) -> Reply:
    """List a node's storages, as it told last."""
    query = call.query
    found = state.list_storages(nodes.find(call.path["id"]), query.wanted_page(), query.filters())
    return Reply(StorageList.model_validate({"storages": found.items, "meta": found.meta()}))


@operations.get("/nodes/{id:row}/usage", scope="nodes:read", answer=UsageList, query=UsageQuery)
def read_usage(call: Call[None, UsageQuery]) -> Reply:
    """Show how a node was used: mean processor load, memory, disk space and running VMs, the oldest first."""
    query = call.query
    found = state.usage(nodes.find(call.path["id"]), query.resolution_seconds, query.since, query.until)
    return Reply(UsageList(usage=found, resolution_seconds=query.resolution_seconds))
