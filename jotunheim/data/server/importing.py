"""Virtual machines that somebody else has made: which there are, and what is asked for when one becomes a server."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from jotunheim.data.fields import DnsName, Id, LabelKey, LabelValue, Shape, ShortText, View, Vmid
from jotunheim.data.server.spec import Limits


class Obstacle(StrEnum):
    """Why a machine cannot be imported."""

    CONTAINER = "container"
    TEMPLATE = "template"
    LOCKED = "locked"
    """Something is being done to it."""
    MARKED = "marked"
    """It is marked for a server that is none of ours: perhaps another Jotunheim's. `force` takes it."""
    COPY = "copy"
    """It is marked for a server of ours, which has another VM."""
    VMID_TAKEN = "vmid_taken"
    """A server of ours has this VMID, on another node."""


class GuestKind(StrEnum):
    """What a machine is."""

    VM = "vm"
    CONTAINER = "container"


class UnmanagedView(View):
    """A machine on a node that is none of our servers."""

    vmid: int
    kind: GuestKind
    name: str
    status: str
    cpu: int
    memory_bytes: int
    disk_bytes: int
    importable: bool
    reasons: list[Obstacle]
    """Why it cannot be imported."""


class ImportRequest(Shape):
    """A VM that becomes a server."""

    node_id: Id
    vmid: Vmid
    name: DnsName | None = None
    """By default the VM's."""
    hostname: DnsName | None = None
    """By default the VM's name."""
    owner_id: Id | None = None
    """By default whoever asks."""
    template_id: Id | None = None
    """What a rebuild is made from when it names nothing else; the VM need not have been made from it."""
    labels: Annotated[dict[LabelKey, LabelValue], Field(max_length=64)] = {}
    external_id: ShortText | None = None
    """The caller's own id for this server, unique among the owner's servers."""
    protected: bool = True
    """A protected server refuses to be deleted, and its VM with it."""
    limits: Limits = Limits()
    force: bool = False
    """Take a VM that is marked for a server that we do not know."""
    confirm: bool = False
    """Without it, this is a preview."""
