"""The envelopes of the API's answers: `{"server": …}`, `{"servers": […], "meta": …}`."""

from pydantic import BaseModel

from jotunheim.data.job import EventView, JobView
from jotunheim.data.node.view import AddressPoolView, LocationView, NodeTest, NodeView, TemplateView
from jotunheim.data.server.view import ServerView


class Pagination(BaseModel):
    """Where a page stands in its list."""

    page: int
    per_page: int
    previous_page: int | None
    next_page: int | None
    last_page: int
    total_entries: int


class Meta(BaseModel):
    """What is said about a list."""

    pagination: Pagination


class LocationAnswer(BaseModel):
    """One location."""

    location: LocationView


class LocationList(BaseModel):
    """A page of locations."""

    locations: list[LocationView]
    meta: Meta


class NodeAnswer(BaseModel):
    """One node."""

    node: NodeView


class NodeList(BaseModel):
    """A page of nodes."""

    nodes: list[NodeView]
    meta: Meta


class NodeTestAnswer(BaseModel):
    """What trying out a node showed."""

    test: NodeTest


class TemplateAnswer(BaseModel):
    """One template."""

    template: TemplateView


class TemplateList(BaseModel):
    """A page of templates."""

    templates: list[TemplateView]
    meta: Meta


class AddressPoolAnswer(BaseModel):
    """One address pool."""

    address_pool: AddressPoolView


class AddressPoolList(BaseModel):
    """A page of address pools."""

    address_pools: list[AddressPoolView]
    meta: Meta


class ServerAnswer(BaseModel):
    """One server."""

    server: ServerView


class ServerList(BaseModel):
    """A page of servers."""

    servers: list[ServerView]
    meta: Meta


class ServerCreated(BaseModel):
    """A new server and the job that builds it."""

    server: ServerView
    job: JobView
    root_password: str | None
    """The generated password, shown only here; null when the caller gave one, or keys."""


class JobAnswer(BaseModel):
    """One job."""

    job: JobView


class JobList(BaseModel):
    """A page of jobs."""

    jobs: list[JobView]
    meta: Meta


class EventList(BaseModel):
    """Events of a job behind a cursor."""

    events: list[EventView]
    next_after: int
    """The cursor for the next question."""
    complete: bool
    """Whether the job is over and these were its last events."""
