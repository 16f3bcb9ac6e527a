"""The audit log."""

from jotunheim.data.answers import AuditList
from jotunheim.routes.call import Call, Reply
from jotunheim.routes.operations import Operations
from jotunheim.routes.queries import AuditQuery
from jotunheim.services.audit import reading

operations = Operations("/admin", role="admin")


@operations.get("/audit", scope="audit:read", answer=AuditList, query=AuditQuery)
def list_audit_entries(call: Call[None, AuditQuery]) -> Reply:
    """List what was done and refused, the newest first, behind a cursor."""
    found, next_cursor = reading.list_entries(call.query.filters(), call.query.cursor, call.query.limit)
    return Reply(AuditList(audit_entries=found, next_cursor=next_cursor))
