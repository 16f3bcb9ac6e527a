"""What stands on nodes as if it were ours and is in no record: looking for it, and removing it."""

from jotunheim.data.answers import JobAnswer
from jotunheim.data.job import JobType
from jotunheim.data.node.orphan import PruneRequest
from jotunheim.data.node.orphan_answers import OrphanAnswer, OrphanJob, OrphanList
from jotunheim.routes.call import Call, JobQuery, NoQuery, Reply
from jotunheim.routes.operations import Operations
from jotunheim.routes.queries import OrphanListQuery
from jotunheim.services import jobs
from jotunheim.services.nodes import nodes, orphans, requests

operations = Operations("/admin", role="admin")


@operations.get("/orphans", scope="nodes:read", answer=OrphanList, query=OrphanListQuery)
def list_orphans(call: Call[None, OrphanListQuery]) -> Reply:
    """List VMs and backups on nodes that have our mark and no record, and disks of VMIDs of ours that no VM has, as found last."""
    found = orphans.list_orphans(call.query.wanted_page(), call.query.filters())
    return Reply(OrphanList.model_validate({"orphans": found.items, "meta": found.meta()}))


@operations.get("/orphans/{orphan_id:uuid}", scope="nodes:read", answer=OrphanAnswer)
def read_orphan(call: Call[None, NoQuery]) -> Reply:
    """Show an orphan."""
    return Reply(OrphanAnswer(orphan=orphans.view(orphans.find(call.path["orphan_id"]))))


@operations.post("/nodes/{id:row}/scan", scope="nodes:write", answer=JobAnswer, status=202)
def scan_node(call: Call[None, NoQuery]) -> Reply:
    """Look for orphans on a node; nothing is removed. Workers do so every day, too."""
    job = requests.enqueue_one(nodes.find(call.path["id"]), JobType.NODE_SCAN, call.actor)
    return Reply(JobAnswer(job=jobs.view(job)), location=f"/api/v1/admin/jobs/{job.id}", wakes=(job.id,))


@operations.job(
    "/orphans/{orphan_id:uuid}/prune",
    JobType.ORPHAN_PRUNE,
    scope="nodes:write",
    body=PruneRequest,
    answer=OrphanJob,
)
def prune_orphan(call: Call[PruneRequest, JobQuery]) -> Reply:
    """Remove an orphan from its node for good. The request names all of its cautions."""
    orphan = orphans.find(call.path["orphan_id"])
    job = orphans.prune(orphan, call.body, call.actor, call.manner)
    body = OrphanJob(orphan=orphans.view(orphan), job=jobs.view(job))
    return Reply(body, location=f"/api/v1/admin/jobs/{job.id}", wakes=(job.id,))
