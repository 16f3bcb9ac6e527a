"""The data of the sandbox: everything that `--state` saves and the control endpoint dumps.

Plain dataclasses without behaviour that needs anything else. Locks, running workers and faults are not
state; they live in `world`. Configuration values are strings, as in PVE's configuration files.
"""

import dataclasses
import secrets
import time
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter
from pydantic import ValidationError as ShapeError

GIB = 1024**3


@dataclass
class Node:
    """One PVE host."""

    name: str
    ip: str
    online: bool = True
    cpus: int = 2
    memory: int = 1024 * GIB
    started: float = field(default_factory=lambda: time.time() - 3600)
    bridges: list[str] = field(default_factory=lambda: ["vmbr0"])


@dataclass
class Storage:
    """A storage definition. `total` and `other_used` are per node, unless the storage is shared."""

    name: str
    path: str
    content: list[str]
    kind: str = "dir"
    shared: bool = False
    total: int = 4096 * GIB
    other_used: int = 0
    """Bytes taken by something that is no volume: what fills a storage up in a test."""

    @property
    def pbs(self) -> bool:
        """Whether this is a datastore of a Proxmox Backup Server."""
        return self.kind == "pbs"


@dataclass
class Volume:
    """One volume of a storage. `node` is empty on a shared storage."""

    volid: str
    node: str
    content: str
    format: str
    size: int
    used: int
    ctime: float
    vmid: int | None = None
    parent: str | None = None
    notes: str | None = None
    protected: bool = False
    backup: "BackupContent | None" = None
    virtual_size: int | None = None
    """Of an image to import: the size of the disk in it. `size` is that of the file."""
    files: str | None = None
    """With guests: the files on it. They live no longer than the process; then the template's are taken."""
    digests: dict[str, str] = field(default_factory=dict)
    """Of a file that was uploaded or downloaded: its digests by algorithm."""


@dataclass
class BackupContent:
    """What a backup archive holds: the configuration text and the size of each disk."""

    config: dict[str, str]
    disks: dict[str, int]
    created: float
    files: dict[str, str | None] = field(default_factory=dict)
    """With guests: the files on each disk."""
    firewall: "Firewall | None" = None
    """The VM's firewall file, if it had one."""


@dataclass
class Run:
    """A running VM."""

    pid: int
    started: float
    agent_at: float
    """When the guest has booted and its agent answers."""
    paused: bool = False
    config: dict[str, str] = field(default_factory=dict)
    """The configuration at start: a guest sees its cloud-init data as of then."""
    passwords: dict[str, str] = field(default_factory=dict)
    """Hashes that the agent set in a pretended guest, by account."""
    counted: dict[str, int] = field(default_factory=dict)
    """Counters that were set, by name; the others grow by themselves."""


@dataclass
class Snapshot:
    """A snapshot: the configuration as it was."""

    config: dict[str, str]
    created: float
    description: str | None = None
    vmstate: str | None = None
    parent: str | None = None
    snapstate: str | None = None
    """`prepare` or `delete` while the snapshot is being made or deleted."""
    files: dict[str, str | None] = field(default_factory=dict)
    """With guests: the files on each volume at the time."""


@dataclass
class Firewall:
    """A VM's firewall file."""

    options: dict[str, str] = field(default_factory=dict)
    rules: list[dict[str, Any]] = field(default_factory=list)
    aliases: dict[str, dict[str, str]] = field(default_factory=dict)
    ipsets: dict[str, "IpSet"] = field(default_factory=dict)


@dataclass
class IpSet:
    """A named set of addresses of a firewall file."""

    comment: str | None = None
    entries: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass
class Vm:
    """One VM: its configuration file and whether it runs."""

    vmid: int
    node: str
    config: dict[str, str]
    pending: dict[str, str] = field(default_factory=dict)
    pending_delete: dict[str, bool] = field(default_factory=dict)
    snapshots: dict[str, Snapshot] = field(default_factory=dict)
    cloudinit: dict[str, str] = field(default_factory=dict)
    """The cloud-init options as they stand on the generated drive."""
    run: Run | None = None
    created: float = field(default_factory=time.time)

    @property
    def template(self) -> bool:
        """Whether the VM is a template."""
        return self.config.get("template") == "1"

    @property
    def lock(self) -> str | None:
        """The configuration's lock: clone, backup, snapshot, …"""
        return self.config.get("lock")


@dataclass
class Task:
    """A worker task, running or finished."""

    upid: str
    node: str
    pid: int
    pstart: int
    starttime: int
    type: str
    id: str
    user: str
    tokenid: str | None = None
    log: list[str] = field(default_factory=list)
    endtime: int | None = None
    exitstatus: str | None = None


@dataclass
class Token:
    """An API token of a user."""

    secret: str
    privsep: bool = True
    comment: str | None = None
    expire: int = 0


@dataclass
class User:
    """A user. Passwords are kept as given: the sandbox protects nothing."""

    userid: str
    password: str | None = None
    enable: bool = True
    expire: int = 0
    groups: list[str] = field(default_factory=list)
    comment: str | None = None
    email: str | None = None
    firstname: str | None = None
    lastname: str | None = None
    tokens: dict[str, Token] = field(default_factory=dict)


@dataclass
class Acl:
    """One entry of the access control list. `kind` is user, group or token."""

    path: str
    kind: str
    subject: str
    role: str
    propagate: bool = True


@dataclass
class Pool:
    """A resource pool."""

    comment: str | None = None
    vms: list[int] = field(default_factory=list)
    storages: list[str] = field(default_factory=list)


@dataclass
class State:
    """The whole cluster."""

    nodes: dict[str, Node]
    storages: dict[str, Storage]
    volumes: list[Volume] = field(default_factory=list)
    vms: dict[int, Vm] = field(default_factory=dict)
    firewalls: dict[int, Firewall] = field(default_factory=dict)
    tasks: list[Task] = field(default_factory=list)
    users: dict[str, User] = field(default_factory=dict)
    groups: dict[str, str | None] = field(default_factory=dict)
    roles: dict[str, list[str]] = field(default_factory=dict)
    acl: list[Acl] = field(default_factory=list)
    pools: dict[str, Pool] = field(default_factory=dict)
    ticket_key: str = field(default_factory=lambda: secrets.token_hex(32))


_STATE: TypeAdapter[State] = TypeAdapter(State)


def dump(state: State) -> dict[str, Any]:
    """The state as JSON values."""
    return dataclasses.asdict(state)


def load(data: Any) -> State:
    """The state that `dump` wrote.

    Raises:
        ValueError: the data is no state; the message names the first wrong field.
    """
    try:
        return _STATE.validate_python(data, extra="forbid")
    except ShapeError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{where}: {first['msg']}") from error
