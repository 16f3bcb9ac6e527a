"""What can be asked of a server that exists, one shape a request."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from jotunheim.data.fields import Id, Notes, Shape, ShortText, SnapshotName, SshPublicKey
from jotunheim.data.server.spec import GuestPassword, KeyIds
from jotunheim.data.server.status import PowerAction

MAX_DELAY_SECONDS = 10 * 366 * 86_400
MAX_GUEST_SECONDS = 600  # meanwhile the guest holds one of the worker's runs


class PowerRequest(Shape):
    """A change of power. What is already so is not done again."""

    action: PowerAction
    timeout_seconds: int = Field(default=60, ge=1, le=MAX_GUEST_SECONDS)
    """What the guest gets to shut down."""
    force: bool = False
    """Stop a guest that did not shut down in time."""


class PasswordRequest(Shape):
    """A new password for the server's account."""

    password: GuestPassword | None = None
    """8 to 128 printable characters. None: one is generated and answered once."""


class RebuildRequest(Shape):
    """A new system disk; addresses, MAC address, name and VMID stay."""

    template_id: Id | None = None
    """None: the same template again; an imported server has none."""
    password: GuestPassword | None = None
    """8 to 128 printable characters. None: one is generated and answered once."""
    ssh_keys: Annotated[list[SshPublicKey], Field(max_length=100)] | None = None
    ssh_key_ids: KeyIds | None = None
    """Keys that the owner keeps. When neither these nor `ssh_keys` are given: the keys that the server has."""
    destroy_snapshots: bool = False
    """Snapshots hold the old disk; a server that has some is only rebuilt when they may go."""


class SuspendRequest(Shape):
    """Why a server is suspended."""

    reason: ShortText


class ProtectionRequest(Shape):
    """Whether a server refuses to be deleted."""

    protected: bool


class SnapshotSpec(Shape):
    """A snapshot to be made."""

    name: SnapshotName
    description: Notes = ""
    with_memory: bool = False
    """Save the memory of a running server too."""


class KeysRequest(Shape):
    """The public keys that the server's account accepts; at least one of the two lists."""

    ssh_keys: Annotated[list[SshPublicKey], Field(max_length=100)] | None = None
    ssh_key_ids: KeyIds | None = None
    """Keys that the owner keeps."""


class Backups(StrEnum):
    """What becomes of a deleted server's backups."""

    KEEP = "keep"
    DELETE = "delete"


class DeleteRequest(Shape):
    """How a server is deleted."""

    purge: bool = True
    """Remove the VM from backup and replication jobs and from high availability too."""
    delay_seconds: int = Field(default=0, ge=0, le=MAX_DELAY_SECONDS)
    """Until it begins, the job can be cancelled and the server is as before."""
    backups: Backups = Backups.KEEP
