"""What the API answers about a server."""

from datetime import datetime
from typing import Any
from uuid import UUID

from jotunheim.data.fields import View
from jotunheim.data.server.status import Power, ServerStatus


class NodeSummary(View):
    """The node of a server."""

    id: int
    name: str


class LocationSummary(View):
    """The location of a server."""

    id: int
    name: str
    short_code: str


class TemplateSummary(View):
    """What a server was made from."""

    id: int
    name: str


class AddressView(View):
    """An address that a server has from a pool."""

    family: str
    address: str
    prefix_length: int
    gateway: str | None


class Suspension(View):
    """Since when and why a server is suspended."""

    at: datetime
    reason: str


class ServerView(View):
    """A server: what was asked for, and what is so."""

    id: UUID
    vmid: int
    name: str
    hostname: str
    status: ServerStatus
    suspended: Suspension | None
    power: Power
    job_id: UUID | None
    """The job that is queued or running for it."""
    owner_id: int
    node: NodeSummary
    location: LocationSummary
    template: TemplateSummary
    cpu: int
    memory_bytes: int
    disk_bytes: int | None
    addresses: list[AddressView]
    labels: dict[str, str]
    tags: list[str]
    external_id: str | None
    expires_at: datetime | None
    protected: bool
    limits: dict[str, Any]
    created_at: datetime
    updated_at: datetime
