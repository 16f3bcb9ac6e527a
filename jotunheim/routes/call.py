"""One request, checked and parsed, and what its handler answers: `def create_server(call: Call[ServerSpec, NoQuery]) -> Reply`."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from jotunheim.data.actor import Actor
from jotunheim.data.job import JobStatus, JobView
from jotunheim.data.paging import MAX_PER_PAGE, Page
from jotunheim.repositories.peewee.secrets import Keyring
from jotunheim.services.audit.records import Refusals
from jotunheim.services.servers.plans import AT_ONCE, Manner
from jotunheim.services.throttle import Throttle
from jotunheim.settings import Settings

Body = TypeVar("Body", bound=BaseModel | None)
Query = TypeVar("Query", bound=BaseModel)


class NoQuery(BaseModel):
    """The query of routes that take none."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True
    )


class CheckQuery(NoQuery):
    """The query of changes that can be previewed."""

    check: bool = False
    """Only show what would change: the playbook runs in check mode, and nothing changes anywhere."""


class JobQuery(CheckQuery):
    """The query of changes that become jobs: their previews can be applied."""

    plan: uuid.UUID | None = None
    """Apply exactly what this preview, a job, has shown, once; 409 when something has moved since. The body may be left out."""

    @field_validator("plan")
    @classmethod
    def _applied_or_previewed(cls, value: uuid.UUID | None, info: ValidationInfo) -> uuid.UUID | None:
        if value is not None and info.data.get("check"):
            raise ValueError("must not be given together with check")
        return value


class ListQuery(NoQuery):
    """The query of all list routes."""

    page: int = Field(default=1, ge=1, le=1_000_000)
    per_page: int = Field(default=50, ge=1, le=MAX_PER_PAGE)
    sort: str | None = Field(default=None, max_length=64)
    """A field's name; a leading hyphen turns the order round."""

    def wanted_page(self) -> Page:
        """The part of the list that is asked for."""
        return Page(self.page, self.per_page, self.sort)

    def filters(self) -> dict[str, Any]:
        """What else is asked for: to what the list is narrowed, by name."""
        given = self.model_dump(exclude=set(ListQuery.model_fields))
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True)
class Context:
    """What handlers need of the running service; built in `bootstrap`."""

    settings: Settings
    keyring: Keyring
    wake: Callable[[uuid.UUID], None]
    """Tells a worker that a job waits."""
    close_queue: Callable[[], None]
    """To be called when nobody is to be told any more."""
    throttle: Throttle
    """Counts how often somebody asks."""
    refusals: Refusals = field(default_factory=Refusals)
    """Records what is refused."""


@dataclass(frozen=True)
class Call(Generic[Body, Query]):
    """One request, checked and parsed."""

    context: Context
    actor: Actor
    path: dict[str, Any]
    query: Query
    body: Body
    if_match: str | None = None
    """The version of the resource that the caller knows, from the header `If-Match`."""
    prepared: Any = None
    """What the operation's `prepare` returned."""
    user_agent: str | None = None
    """What the caller says that it is."""
    manner: Manner = AT_ONCE
    """Whether it is a preview, or applies one; only of operations that become jobs."""


Handler = Callable[[Call[Any, Any]], "Reply"]


@dataclass(frozen=True)
class File:
    """An answer that is a file to be kept, and no JSON document."""

    name: str
    """What to call it; ASCII without quotes."""
    content: bytes


@dataclass(frozen=True)
class Reply:
    """What a handler answers."""

    body: BaseModel | File
    location: str | None = None
    wakes: tuple[uuid.UUID, ...] = ()
    """Jobs that a worker shall look at, once the transaction is committed."""
    etag: str | None = None
    """The version of the resource that is answered."""
    cookie: str | None = None
    """What the browser shall keep: the value of `Set-Cookie`."""
    status: int | None = None
    """Another status than the operation's."""

    @property
    def headers(self) -> dict[str, str]:
        """The answer's headers."""
        headers = {"Location": self.location} if self.location else {}
        if self.cookie:
            headers["Set-Cookie"] = self.cookie
        if isinstance(self.body, File):
            headers["Content-Disposition"] = f'attachment; filename="{self.body.name}"'
        return headers | ({"ETag": f'"{self.etag}"'} if self.etag else {})


def cancelled(job: JobView, body: BaseModel, location: str) -> Reply:
    """The answer to a cancellation: 200 when it is done, else 202 and a worker is told to do it."""
    if job.status is JobStatus.CANCELLED:
        return Reply(body, status=200)
    return Reply(body, location=location, wakes=(job.id,))
