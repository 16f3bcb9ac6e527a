"""Servers."""

from pydantic import Field

from jotunheim.data.answers import ServerAnswer, ServerCreated, ServerList
from jotunheim.data.fields import LABEL_KEY
from jotunheim.data.server.spec import ServerSpec
from jotunheim.exceptions.model import DataValidationError, FieldProblem
from jotunheim.routes.operation import Call, ListQuery, NoQuery, Operations, Reply
from jotunheim.services import jobs
from jotunheim.services.servers import create, read

operations = Operations("/admin", role="admin")


class ServerListQuery(ListQuery):
    """The query of the list of servers."""

    label_selector: str | None = Field(default=None, max_length=1024)
    """`env=ci,tier=web`: servers that have all these labels."""

    def labels(self) -> dict[str, str]:
        """The wanted labels.

        Raises:
            DataValidationError: the selector is not of that form.
        """
        wanted = {}
        for term in self.label_selector.split(",") if self.label_selector else []:
            key, equals, value = term.strip().partition("=")
            if not equals or not LABEL_KEY.fullmatch(key):
                raise DataValidationError(
                    [FieldProblem("label_selector", "must be KEY=VALUE, joined by commas")]
                )
            wanted[key] = value
        return wanted


@operations.get("/servers", scope="servers:read", answer=ServerList, query=ServerListQuery)
def list_servers(call: Call[None, ServerListQuery]) -> Reply:
    """List servers."""
    found = read.list_servers(call.query.wanted_page(), call.query.labels())
    return Reply(ServerList.model_validate({"servers": found.items, "meta": found.meta()}))


@operations.post("/servers", scope="servers:write", body=ServerSpec, answer=ServerCreated, status=202)
def create_server(call: Call[ServerSpec, NoQuery]) -> Reply:
    """Create a server: reserve what it needs and queue its build."""
    context = call.context
    created = create.create_server(call.body, call.actor, context.settings, context.keyring)
    answer = ServerCreated(
        server=read.read_server(created.server.id),
        job=jobs.read_job(created.job.id),
        root_password=created.root_password,
    )
    return Reply(answer, location=f"/api/v1/admin/jobs/{created.job.id}", wakes=(created.job.id,))


@operations.get("/servers/{id:uuid}", scope="servers:read", answer=ServerAnswer)
def read_server(call: Call[None, NoQuery]) -> Reply:
    """Show a server."""
    return Reply(ServerAnswer(server=read.read_server(call.path["id"])))
