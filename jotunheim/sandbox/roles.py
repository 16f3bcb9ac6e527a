"""PVE's privileges and its built-in roles."""

_ADMIN_ONLY = frozenset(
    [
        "Mapping.Modify",
        "Permissions.Modify",
        "Realm.Allocate",
        "SDN.Allocate",
        "Sys.AccessNetwork",
        "Sys.Incoming",
        "Sys.Modify",
        "Sys.PowerMgmt",
    ]
)
PRIVILEGES = _ADMIN_ONLY | frozenset(
    [
        "Datastore.Allocate",
        "Datastore.AllocateSpace",
        "Datastore.AllocateTemplate",
        "Datastore.Audit",
        "Group.Allocate",
        "Mapping.Audit",
        "Mapping.Use",
        "Pool.Allocate",
        "Pool.Audit",
        "Realm.AllocateUser",
        "SDN.Audit",
        "SDN.Use",
        "Sys.Audit",
        "Sys.Console",
        "Sys.Syslog",
        "User.Modify",
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
        "VM.Console",
        "VM.Migrate",
        "VM.Monitor",
        "VM.PowerMgmt",
        "VM.Snapshot",
        "VM.Snapshot.Rollback",
    ]
)
"""All privileges of PVE 8.4."""


def _starting(*prefixes: str) -> frozenset[str]:
    return frozenset(name for name in PRIVILEGES if name.startswith(prefixes))


_VM_USER = frozenset(
    ["VM.Audit", "VM.Backup", "VM.Config.CDROM", "VM.Config.Cloudinit", "VM.Console", "VM.PowerMgmt"]
)

BUILT_IN_ROLES: dict[str, frozenset[str]] = {
    "Administrator": PRIVILEGES,
    "NoAccess": frozenset(),
    "PVEAdmin": PRIVILEGES - _ADMIN_ONLY,
    "PVEAuditor": frozenset(name for name in PRIVILEGES if name.endswith(".Audit")),
    "PVEDatastoreAdmin": _starting("Datastore."),
    "PVEDatastoreUser": frozenset({"Datastore.AllocateSpace", "Datastore.Audit"}),
    "PVEMappingAdmin": _starting("Mapping."),
    "PVEMappingAuditor": frozenset({"Mapping.Audit"}),
    "PVEMappingUser": frozenset({"Mapping.Audit", "Mapping.Use"}),
    "PVEPoolAdmin": _starting("Pool."),
    "PVEPoolUser": frozenset({"Pool.Audit"}),
    "PVESDNAdmin": _starting("SDN."),
    "PVESDNUser": frozenset({"SDN.Audit", "SDN.Use"}),
    "PVESysAdmin": frozenset({"Sys.Audit", "Sys.Console", "Sys.Syslog"}),
    "PVETemplateUser": frozenset({"VM.Audit", "VM.Clone"}),
    "PVEUserAdmin": frozenset({"Group.Allocate", "Realm.AllocateUser", "User.Modify"}),
    "PVEVMAdmin": _starting("VM."),
    "PVEVMUser": _VM_USER,
}
"""Built-in roles, which cannot be changed."""
