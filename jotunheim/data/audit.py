"""What is shown of the audit log."""

from datetime import datetime
from typing import Any

from jotunheim.data.fields import View


class AuditEntryView(View):
    """What somebody did, or was refused."""

    id: int
    """One more than that of the entry before it."""
    at: datetime
    source: str
    """`api`; `cli`: a command on the service's own machine; `worker`: the service by itself."""
    actor_id: int | None
    """null: nobody who is known."""
    actor_email: str | None
    token_id: int | None
    session_id: int | None
    address: str | None
    """Where the request came from."""
    request_id: str | None
    action: str
    """For example `server.create`."""
    resource_type: str | None
    resource_id: str | None
    outcome: str
    """`done`, `previewed`, or the code of the error."""
    status: int | None
    """Of the HTTP answer."""
    message: str | None
    """Why it was refused."""
    times: int
    """How many requests the entry stands for: 1, but for floods without a valid token."""
    request: dict[str, Any] | None
    """What was asked for: `path`, `query` and `body`, without secrets."""
    before: dict[str, Any] | None
    """What is different since."""
    after: dict[str, Any] | None
    previous_hash: str
    hash: str
