"""Who may have how many protected backups of a VM: PVE's `max-protected-backups`, which no storage here sets."""

from jotunheim.sandbox.call import Call
from jotunheim.sandbox.errors import failure
from jotunheim.sandbox.volumes import with_content
from jotunheim.sandbox.world import World

LIMIT = 5
"""For those who have no `Datastore.Allocate` on the storage. The others have no limit."""


def protected_limit(call: Call, storage: str) -> int | None:
    """How many protected backups of one VM the sender may have on a storage."""
    return None if call.may(f"/storage/{storage}", "Datastore.Allocate") else LIMIT


def refuse_more_protected(world: World, storage: str, node: str, vmid: int, limit: int | None) -> None:
    """Refuse one more protected backup of a VM if it has as many as it may have on the storage.

    Raises:
        ApiError: 500.
    """
    backups = with_content(world.volumes.of_vm(vmid), "backup", vmid)
    here = [v for v in backups if v.volid.startswith(f"{storage}:") and v.node in ("", node)]
    if limit is not None and sum(volume.protected for volume in here) >= limit:
        limited = f"The number of protected backups per guest is limited to {limit}"
        raise failure(f"{limited} on storage '{storage}'")
