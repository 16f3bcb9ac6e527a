"""What a node's API token must be allowed, and no more: by PVE path, from what the playbooks and our reads request.

The privileges are those that PVE's API documentation (8.4) names for each request.
"""

import shlex
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

VM = frozenset(
    {
        "VM.Allocate",
        "VM.Audit",
        "VM.Backup",
        "VM.Clone",
        "VM.Config.CDROM",
        "VM.Config.CPU",
        "VM.Config.Cloudinit",
        "VM.Config.Disk",
        "VM.Config.HWType",
        "VM.Config.Memory",
        "VM.Config.Network",
        "VM.Config.Options",
        "VM.Monitor",
        "VM.PowerMgmt",
        "VM.Snapshot",
        "VM.Snapshot.Rollback",
    }
)
"""For the VMs. VM.Monitor is for the guest agent; without VM.Backup their backups are not even seen."""
STORAGE = frozenset({"Datastore.AllocateSpace", "Datastore.Audit"})
"""For the storages of disks and backups."""
IMAGES = frozenset({"Datastore.Audit"})
"""For the storage of the ISO images."""
BRIDGE = frozenset({"SDN.Use"})
NODE = frozenset({"Sys.Audit"})
"""For the node's memory, processors and bridges."""


@dataclass(frozen=True)
class Grant:
    """Privileges on one path, as a PVE role."""

    role: str
    path: str
    privileges: frozenset[str]


def grants(*, node: str, vm_storage: str, backup_storage: str, iso_storage: str, bridge: str) -> list[Grant]:
    """What the token of a node with these names needs."""
    written = dict.fromkeys([vm_storage, backup_storage])
    return [
        Grant("JotunheimVMs", "/vms", VM),
        *(Grant("JotunheimStorage", f"/storage/{name}", STORAGE) for name in written),
        *(Grant("JotunheimImages", f"/storage/{name}", IMAGES) for name in {iso_storage} - written.keys()),
        Grant("JotunheimBridge", f"/sdn/zones/localnetwork/{bridge}", BRIDGE),
        Grant("JotunheimNode", f"/nodes/{node}", NODE),
    ]


def missing(grant: Grant, granted: Mapping[str, Mapping[str, bool]]) -> list[str]:
    """Those of its privileges that a token lacks.

    Args:
        granted: as `reads.permissions` tells.
    """
    # What holds on /vms must hold for the VMs below it.
    held = _held(granted, grant.path if grant.path != "/vms" else "/vms/0")
    return sorted(grant.privileges - set(held))


def commands(wanted: Collection[Grant], token_id: str) -> Iterator[str]:
    """The lines to run on a node as root that make such a token with its user and roles.

    Args:
        token_id: `user@realm!name`.
    """
    user, _, name = token_id.partition("!")
    yield shlex.join(["pveum", "user", "add", user])
    yield shlex.join(["pveum", "user", "token", "add", user, name, "--privsep", "1"])
    for role, privileges in {grant.role: grant.privileges for grant in wanted}.items():
        yield shlex.join(["pveum", "role", "add", role, "--privs", " ".join(sorted(privileges))])
    for grant in wanted:
        # A token has at most what its user has.
        for whom in (["--users", user], ["--tokens", token_id]):
            yield shlex.join(["pveum", "acl", "modify", grant.path, *whom, "--roles", grant.role])


def _held(granted: Mapping[str, Mapping[str, bool]], path: str) -> Collection[str]:
    """Privileges on a path: its own, or those that the longest path above it passes on, as PVE inherits them."""
    best = ""
    for candidate in granted:
        if (path == candidate or candidate == "/" or path.startswith(candidate + "/")) and len(
            candidate
        ) > len(best):
            best = candidate
    return [name for name, propagated in granted.get(best, {}).items() if propagated or best == path]
