"""The envelopes of the API's answers: `{"server": …}`, `{"servers": […], "meta": …}`."""

from uuid import UUID

from pydantic import Field

from jotunheim.data.audit import AuditEntryView
from jotunheim.data.fields import View
from jotunheim.data.job import ClientJobView, EventView, JobView
from jotunheim.data.node.state import StorageView, UsageView
from jotunheim.data.node.view import (
    AddressPoolView,
    AddressView,
    ClientTemplateView,
    LocationView,
    NodeTest,
    NodeView,
    TemplateGroupView,
    TemplateView,
)
from jotunheim.data.server.firewall import (
    ClientRulesetView,
    FirewallView,
    NotApplied,
    RulesetServer,
    RulesetView,
)
from jotunheim.data.server.importing import UnmanagedView
from jotunheim.data.server.iso import ClientIsoView, IsoView
from jotunheim.data.server.traffic import PeriodView
from jotunheim.data.server.view import ClientServerView, ServerView, SnapshotView
from jotunheim.data.ssh_key import SshKeyView, UserSshKeyView


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


class StorageList(View):
    """A page of a node's storages."""

    storages: list[StorageView]
    meta: Meta


class UsageList(View):
    """How a node was used, the oldest first."""

    usage: list[UsageView]
    resolution_seconds: int


class PeriodList(View):
    """A page of what servers have moved in a month."""

    usage: list[PeriodView]
    meta: Meta


class TemplateGroupAnswer(View):
    """One template group."""

    template_group: TemplateGroupView


class TemplateGroupList(View):
    """A page of template groups."""

    template_groups: list[TemplateGroupView]
    meta: Meta


class TemplatesSynced(View):
    """What a node's templates are now, and which of them are new."""

    templates: list[TemplateView]
    added: list[int]
    """Ids of templates that were not known."""
    missing: list[int]
    """Ids of templates that the node has no more."""


class TemplateAnswer(View):
    """One template."""

    template: TemplateView


class TemplateList(View):
    """A page of templates."""

    templates: list[TemplateView]
    meta: Meta


class ClientTemplateList(View):
    """A page of the templates that a server can be rebuilt from."""

    templates: list[ClientTemplateView]
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


class UnmanagedList(View):
    """A page of the machines on a node that are none of our servers."""

    vms: list[UnmanagedView]
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
    root_password: str | None = Field(repr=False)
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

    root_password: str | None = Field(repr=False)
    """The generated password, shown only here; null when the caller gave one, or in a preview."""


class SnapshotList(View):
    """A page of a server's snapshots."""

    snapshots: list[SnapshotView]
    meta: Meta


class IsoList(View):
    """A page of the images that a server can be given."""

    isos: list[IsoView]
    meta: Meta


class ClientIsoList(View):
    """A page of the images that an owner's server can be given."""

    isos: list[ClientIsoView]
    meta: Meta


class SshKeysAnswer(View):
    """The public keys that a server's account accepts."""

    ssh_keys: list[str]


class SshKeyAnswer(View):
    """One of the caller's keys."""

    ssh_key: SshKeyView


class SshKeyList(View):
    """A page of the caller's keys."""

    ssh_keys: list[SshKeyView]
    meta: Meta


class UserSshKeyAnswer(View):
    """One key of a user."""

    ssh_key: UserSshKeyView


class UserSshKeyList(View):
    """A page of users' keys."""

    ssh_keys: list[UserSshKeyView]
    meta: Meta


class FirewallAnswer(View):
    """A server's firewall, as it is wanted."""

    firewall: FirewallView
    anti_spoofing: bool
    recorded: bool
    """False: nobody has said yet what rules the server shall have; those that it has on the node stay."""
    outdated_rulesets: list[int]
    """Those whose present rules the server does not have yet."""


class RulesetAnswer(View):
    """One firewall ruleset."""

    firewall_ruleset: RulesetView


class RulesetChanged(RulesetAnswer):
    """A changed firewall ruleset."""

    outdated_servers: list[RulesetServer]
    """Servers that do not have its present rules, at most 100; `…/servers?outdated=true` lists all."""


class RulesetList(View):
    """A page of firewall rulesets."""

    firewall_rulesets: list[RulesetView]
    meta: Meta


class RulesetServers(View):
    """A page of the servers that apply a firewall ruleset."""

    servers: list[RulesetServer]
    meta: Meta


class RulesetApplied(View):
    """The jobs that bring a ruleset's present rules to servers."""

    jobs: list[JobView]
    left_out: list[NotApplied]
    remaining: int
    """Servers beyond those that one request takes."""
    next_after: UUID | None
    """`after` of the request for those; null: there are none."""


class ClientRulesetAnswer(View):
    """One firewall ruleset that owners can apply."""

    firewall_ruleset: ClientRulesetView


class ClientRulesetList(View):
    """A page of the firewall rulesets that owners can apply."""

    firewall_rulesets: list[ClientRulesetView]
    meta: Meta


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

    root_password: str | None = Field(repr=False)
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


class AuditList(View):
    """Entries of the audit log, the newest first."""

    audit_entries: list[AuditEntryView]
    next_cursor: int | None
    """What to ask with for older ones; null: there are none."""
