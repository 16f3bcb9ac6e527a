"""The envelopes of the API's answers: `{"server": …}`, `{"servers": […], "meta": …}`."""

from jotunheim.data.fields import View
from jotunheim.data.job import ClientJobView, EventView, JobView
from jotunheim.data.node.view import (
    AddressPoolView,
    AddressView,
    LocationView,
    NodeTest,
    NodeView,
    TemplateView,
)
from jotunheim.data.server.view import ClientServerView, ServerView, SnapshotView


class Pagination(View):
    """Where a page stands in its list."""

    page: int
    per_page: int
    previous_page: int | None
    next_page: int | None
    last_page: int
    total_entries: int


class Meta(View):
    """What is said about a list."""

    pagination: Pagination


class LocationAnswer(View):
    """One location."""

    location: LocationView


class LocationList(View):
    """A page of locations."""

    locations: list[LocationView]
    meta: Meta


class NodeAnswer(View):
    """One node."""

    node: NodeView


class NodeList(View):
    """A page of nodes."""

    nodes: list[NodeView]
    meta: Meta


class NodeTestAnswer(View):
    """What trying out a node showed."""

    test: NodeTest


class TemplateAnswer(View):
    """One template."""

    template: TemplateView


class TemplateList(View):
    """A page of templates."""

    templates: list[TemplateView]
    meta: Meta


class AddressPoolAnswer(View):
    """One address pool."""

    address_pool: AddressPoolView


class AddressAnswer(View):
    """One address of a pool."""

    address: AddressView


class AddressList(View):
    """A page of a pool's addresses."""

    addresses: list[AddressView]
    meta: Meta


class AddressPoolList(View):
    """A page of address pools."""

    address_pools: list[AddressPoolView]
    meta: Meta


class ServerAnswer(View):
    """One server."""

    server: ServerView


class ServerList(View):
    """A page of servers."""

    servers: list[ServerView]
    meta: Meta


class ServerCreated(View):
    """A new server and the job that builds it; in a preview the server as it would be."""

    server: ServerView
    job: JobView
    root_password: str | None
    """The generated password, shown only here; null when the caller gave one, or keys."""


class ServerJob(View):
    """A server and the job that changes it."""

    server: ServerView
    job: JobView


class ServerChanged(View):
    """A changed server, and the job that brings the change about; null when only records were to change."""

    server: ServerView
    job: JobView | None


class ServerJobPassword(ServerJob):
    """A server, the job that gives it a new password, and the password."""

    root_password: str | None
    """The generated password, shown only here; null when the caller gave one, or in a preview."""


class SnapshotList(View):
    """A page of a server's snapshots."""

    snapshots: list[SnapshotView]
    meta: Meta


class SshKeysAnswer(View):
    """The public keys that a server's account accepts."""

    ssh_keys: list[str]


class ClientServerAnswer(View):
    """One server, for its owner."""

    server: ClientServerView


class ClientServerList(View):
    """A page of an owner's servers."""

    servers: list[ClientServerView]
    meta: Meta


class ClientServerJob(View):
    """A server and the job that changes it, for its owner."""

    server: ClientServerView
    job: ClientJobView


class ClientServerJobPassword(ClientServerJob):
    """A server, the job that gives it a new password, and the password, for its owner."""

    root_password: str | None
    """The generated password, shown only here; null when the caller gave one, or in a preview."""


class ClientJobAnswer(View):
    """One job, for the owner of its server."""

    job: ClientJobView


class ClientJobList(View):
    """A page of the jobs on an owner's servers."""

    jobs: list[ClientJobView]
    meta: Meta


class JobAnswer(View):
    """One job."""

    job: JobView


class JobList(View):
    """A page of jobs."""

    jobs: list[JobView]
    meta: Meta


class EventList(View):
    """Events of a job behind a cursor."""

    events: list[EventView]
    next_after: int
    """The cursor for the next question."""
    complete: bool
    """Whether the job is over and these were its last events."""
