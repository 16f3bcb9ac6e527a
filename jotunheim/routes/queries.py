"""The queries of lists: what they can be narrowed to and sorted by.

A filter's value must be met exactly. The services have the columns, by the same names.
"""

import uuid
from typing import Any, Literal

from pydantic import AwareDatetime, Field, JsonValue

from jotunheim.data.backup.status import BackupStatus
from jotunheim.data.fields import Id, Vmid
from jotunheim.data.job import JobStatus, JobType
from jotunheim.data.node.orphan import OrphanKind
from jotunheim.data.node.spec import OsFamily
from jotunheim.data.node.view import AddressState
from jotunheim.data.paging import MAX_PER_PAGE
from jotunheim.data.server.drift import DriftStatus
from jotunheim.data.server.filters import OwnServerFilters, ServerFilters, by_label
from jotunheim.data.server.importing import GuestKind
from jotunheim.data.server.traffic import PERIOD
from jotunheim.data.webhook.kinds import DeliveryStatus, EventKind
from jotunheim.routes.call import ListQuery, NoQuery


def _text(max_length: int = 255) -> Any:
    return Field(default=None, max_length=max_length)


def _sorted_by(*names: str) -> Any:
    """The field `sort` of a list that can be sorted so; the first name is the default."""
    both: list[JsonValue] = [*names, *(f"-{name}" for name in names)]
    return Field(default=None, max_length=64, json_schema_extra={"enum": both})


class LocationListQuery(ListQuery):
    """The query of the list of locations."""

    sort: str | None = _sorted_by("id", "name", "short_code", "created_at", "updated_at")
    name: str | None = _text()
    short_code: str | None = _text()


class NodeListQuery(ListQuery):
    """The query of the list of nodes."""

    sort: str | None = _sorted_by("id", "name", "location_id", "created_at", "updated_at")
    name: str | None = _text()
    location_id: Id | None = None
    drained: bool | None = None


class UserListQuery(ListQuery):
    """The query of the list of users."""

    sort: str | None = _sorted_by("id", "email", "name", "role", "created_at", "updated_at")
    email: str | None = _text()
    role: str | None = _text()
    disabled: bool | None = None


class RoleListQuery(ListQuery):
    """The query of the list of roles."""

    sort: str | None = _sorted_by("id", "name", "created_at", "updated_at")
    name: str | None = _text()
    admin: bool | None = None


class TokenListQuery(ListQuery):
    """The query of the list of one's own tokens."""

    sort: str | None = _sorted_by("id", "name", "created_at", "expires_at", "last_used_at")


class SessionListQuery(ListQuery):
    """The query of the list of one's own sessions."""

    sort: str | None = _sorted_by("id", "created_at", "last_used_at", "expires_at")


class TemplateListQuery(ListQuery):
    """The query of the list of templates."""

    sort: str | None = _sorted_by("id", "name", "vmid", "node_id", "position", "created_at", "updated_at")
    name: str | None = _text()
    node_id: Id | None = None
    group_id: Id | None = None
    os_family: OsFamily | None = None
    vmid: Vmid | None = None
    hidden: bool | None = None


class AddressPoolListQuery(ListQuery):
    """The query of the list of address pools."""

    sort: str | None = _sorted_by("id", "name", "family", "created_at", "updated_at")
    name: str | None = _text()
    family: Literal["ipv4", "ipv6"] | None = None
    node_id: Id | None = None
    """Pools that serve this node: those for it, and those for all."""


class AddressListQuery(ListQuery):
    """The query of the list of a pool's addresses."""

    sort: str | None = _sorted_by("address", "allocated_at", "quarantined_until")
    state: AddressState | None = None
    server_id: uuid.UUID | None = None


class ClientServerListQuery(OwnServerFilters, ListQuery):
    """The query of an owner's list of servers."""

    sort: str | None = _sorted_by(
        "created_at", "name", "status", "updated_at", "expires_at", "cpu", "memory_bytes", "disk_bytes"
    )

    def filters(self) -> dict[str, Any]:
        """As of all lists; the labels one by one.

        Raises:
            DataValidationError: the selector is not of that form.
        """
        return by_label(super().filters())


class ServerListQuery(ServerFilters, ClientServerListQuery):
    """The query of the list of servers."""

    sort: str | None = _sorted_by(
        "created_at",
        "name",
        "vmid",
        "status",
        "updated_at",
        "expires_at",
        "cpu",
        "memory_bytes",
        "disk_bytes",
        "owner_id",
        "node_id",
    )


class ServerJobListQuery(ListQuery):
    """The query of the list of a server's jobs; the newest come first."""

    sort: str | None = _sorted_by("created_at", "started_at", "finished_at", "status", "type")
    status: JobStatus | None = None
    type: JobType | None = None
    check: bool | None = None
    """Previews, or what is no preview."""


class ClientJobListQuery(ServerJobListQuery):
    """The query of an owner's list of jobs; the newest come first."""

    server_id: uuid.UUID | None = None
    request_id: str | None = _text(128)
    """Jobs that the request with this `X-Request-ID` asked for."""


class JobListQuery(ClientJobListQuery):
    """The query of the list of jobs; the newest come first."""

    node_id: Id | None = None
    owner_id: Id | None = None
    """Jobs on servers of this user."""
    requested_by: str | None = _text()
    """The e-mail address of who asked."""


class SnapshotListQuery(ListQuery):
    """The query of the list of a server's snapshots; the oldest come first."""

    sort: str | None = _sorted_by("created_at", "name")


class ServerBackupListQuery(ListQuery):
    """The query of the list of a server's backups; the newest come first."""

    sort: str | None = _sorted_by("created_at", "taken_at", "size_bytes", "status")
    status: BackupStatus | None = None
    locked: bool | None = None


class BackupListQuery(ServerBackupListQuery):
    """The query of the list of all backups, those of servers that are gone too; the newest come first."""

    server_id: uuid.UUID | None = None
    owner_id: Id | None = None
    node_id: Id | None = None
    storage: str | None = _text()
    kept: bool | None = None
    """Whether their servers are gone."""


class PeriodListQuery(ListQuery):
    """The query of the list of what servers have moved in a month."""

    sort: str | None = _sorted_by(
        "server_id", "server_name", "owner_id", "in_bytes", "out_bytes", "updated_at"
    )
    period: str | None = Field(default=None, pattern=PERIOD)
    """A month, e.g. `2026-11`; by default the current one."""
    owner_id: Id | None = None
    server_id: uuid.UUID | None = None


class DriftListQuery(ListQuery):
    """The query of the list of what differs between servers and their VMs."""

    sort: str | None = _sorted_by("server_name", "checked_at", "found_at", "status")
    status: DriftStatus | None = None
    server_id: uuid.UUID | None = None
    owner_id: Id | None = None
    node_id: Id | None = None


class BackupScheduleListQuery(ListQuery):
    """The query of the list of a server's schedules of backups."""

    sort: str | None = _sorted_by("id", "next_run_at", "last_run_at", "created_at", "updated_at")
    enabled: bool | None = None


class StorageListQuery(ListQuery):
    """The query of the list of a node's storages."""

    sort: str | None = _sorted_by("name", "type", "total_bytes", "used_bytes")
    shared: bool | None = None
    active: bool | None = None


class OrphanListQuery(ListQuery):
    """The query of the list of what is on nodes and in no record; the first one found comes first."""

    sort: str | None = _sorted_by("found_at", "seen_at", "kind", "vmid", "name", "size_bytes")
    node_id: Id | None = None
    kind: OrphanKind | None = None
    vmid: Vmid | None = None
    storage: str | None = _text()
    protected: bool | None = None


class UnmanagedListQuery(ListQuery):
    """The query of the list of machines that are none of our servers."""

    sort: str | None = _sorted_by("vmid", "name", "status", "kind", "cpu", "memory_bytes", "disk_bytes")
    vmid: Vmid | None = None
    name: str | None = Field(default=None, min_length=1, max_length=255)
    """Machines with this in their names, in upper or lower case."""
    status: str | None = _text(32)
    kind: GuestKind | None = None
    importable: bool | None = None
    """Those that can be imported, or those that cannot. Then the configurations of all of them are read."""


class TemplateGroupListQuery(ListQuery):
    """The query of the list of template groups."""

    sort: str | None = _sorted_by("id", "name", "position", "created_at", "updated_at")
    name: str | None = _text()
    os_family: OsFamily | None = None
    hidden: bool | None = None


class ClientTemplateListQuery(ListQuery):
    """The query of the list of templates that a server can be rebuilt from."""

    sort: str | None = _sorted_by("position", "id", "name")
    name: str | None = _text()
    os_family: OsFamily | None = None


class IsoListQuery(ListQuery):
    """The query of the list of images."""

    sort: str | None = _sorted_by("name", "size_bytes", "created_at")
    name: str | None = Field(default=None, min_length=1, max_length=255)
    """Images with this in their names, in upper or lower case."""


class RulesetListQuery(ListQuery):
    """The query of the list of firewall rulesets."""

    sort: str | None = _sorted_by("id", "name", "created_at", "updated_at")
    name: str | None = _text()


class RulesetServersQuery(ListQuery):
    """The query of the list of servers that apply a firewall ruleset."""

    sort: str | None = _sorted_by("id", "name")
    name: str | None = _text()
    outdated: bool | None = None
    """Only servers that do not have its present rules, or only those that have them."""


class SshKeyListQuery(ListQuery):
    """The query of the list of one's own SSH keys."""

    sort: str | None = _sorted_by("id", "name", "fingerprint", "created_at", "updated_at")
    name: str | None = _text()
    fingerprint: str | None = _text(64)
    """`SHA256:…`."""


class UserSshKeyListQuery(SshKeyListQuery):
    """The query of the list of all SSH keys."""

    user_id: Id | None = None
    """Only this user's."""
    mine: bool | None = None
    """Only those of whoever asks; `user_id` does not count then."""


class ClientWebhookListQuery(ListQuery):
    """The query of the list of one's own webhooks."""

    sort: str | None = _sorted_by("id", "target", "created_at", "updated_at")
    enabled: bool | None = None


class WebhookListQuery(ClientWebhookListQuery):
    """The query of the list of all webhooks."""

    owner_id: Id | None = None


class DeliveryListQuery(ListQuery):
    """The query of the list of a webhook's deliveries."""

    sort: str | None = _sorted_by("id", "created_at", "finished_at", "status")
    status: DeliveryStatus | None = None
    type: EventKind | None = None
    event_id: uuid.UUID | None = None
    resource_type: str | None = _text(32)
    resource_id: str | None = _text()
    since: AwareDatetime | None = None
    """Asked for at this time or later."""
    until: AwareDatetime | None = None
    """Asked for before this time."""


class AuditQuery(NoQuery):
    """The query of the audit log; the newest entries come first."""

    cursor: int | None = Field(default=None, ge=1, le=2**62)
    """Only older entries than this one: `next_cursor` of the answer before."""
    limit: int = Field(default=50, ge=1, le=MAX_PER_PAGE)
    actor_email: str | None = _text(254)
    action: str | None = _text(64)
    resource_type: str | None = _text(32)
    resource_id: str | None = _text()
    outcome: str | None = _text(32)
    """`done`, `previewed`, or the code of an error."""
    request_id: str | None = _text(128)
    since: AwareDatetime | None = None
    """Entries of this time or later, for example `2026-01-31T00:00:00Z`."""
    until: AwareDatetime | None = None
    """Entries before this time."""

    def filters(self) -> dict[str, Any]:
        """What the log is narrowed to, by name."""
        given = self.model_dump(exclude={"cursor", "limit"})
        return {name: value for name, value in given.items() if value is not None}
