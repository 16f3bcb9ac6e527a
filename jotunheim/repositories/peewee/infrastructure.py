"""Locations, nodes and templates: where servers can be, and what they are made from."""

from collections.abc import Collection, Iterable
from typing import Any

from peewee import (
    JOIN,
    AutoField,
    BigIntegerField,
    BooleanField,
    CharField,
    FloatField,
    ForeignKeyField,
    IntegerField,
    JSONField,
    TextField,
)

from jotunheim.repositories.peewee.database import Table, UtcField, Versioned, locking, now, unused


class Location(Versioned, Table):
    """A place that nodes stand in."""

    id = AutoField()
    name = CharField()
    short_code = CharField(unique=True)
    placement_policy = CharField(max_length=16, null=True)
    """How a node is chosen among several: a `PlacementPolicy`; None: as the setting says."""
    created_at = UtcField(default=now)
    updated_at = UtcField(default=now)

    @classmethod
    def exists(cls, id_: int) -> bool:
        """Whether there is a location with this id."""
        return bool(cls.select().where(cls.id == id_).exists())

    def remove(self) -> None:
        """Delete the location. Raises InUseError when a node stands in it."""
        with unused(f"A node stands in location {self.short_code}."):
            self.delete_instance()


class Node(Versioned, Table):
    """A Proxmox VE host that we may place servers on. Its token secret is the secret `node/<id>/token`."""

    id = AutoField()
    name = CharField(unique=True)
    """The PVE node name."""
    location = ForeignKeyField(Location, backref="nodes", on_delete="RESTRICT")
    location_id: int
    host = CharField()
    port = IntegerField()
    token_id = CharField()
    tls_ca_pem = TextField(null=True)
    tls_fingerprint = CharField(null=True)
    """SHA-256 of the one certificate that is accepted, as `AA:BB:…`."""
    vm_storage = CharField()
    backup_storage = CharField()
    iso_storage = CharField()
    bridge = CharField()
    memory_overcommit = FloatField()
    disk_overcommit = FloatField()
    max_concurrent_clones = IntegerField()
    drained = BooleanField(default=False)
    """It takes no new servers."""
    labels = JSONField(default=dict)
    """What servers can ask for, e.g. `{"disk": "nvme"}`."""
    created_at = UtcField(default=now)
    updated_at = UtcField(default=now)

    @classmethod
    def exists(cls, id_: int) -> bool:
        """Whether there is a node with this id."""
        return bool(cls.select().where(cls.id == id_).exists())

    def remove(self) -> None:
        """Delete the node. Raises InUseError when a server or template is on it."""
        with unused(f"Something is on node {self.name}."):
            self.delete_instance()

    @classmethod
    def hold(cls, id_: int) -> bool:
        """Keep others from changing the node until the transaction ends; False: there is none any more."""
        held = locking(cls.select(cls.id).where(cls.id == id_), cls, referable=True)
        return held.first() is not None

    @classmethod
    def named(cls, names: Iterable[str]) -> "list[Node]":
        """The nodes with these names."""
        return list(cls.select().where(cls.name.in_(list(names))))

    @classmethod
    def names_in(cls, location: Location, limit: int) -> tuple[list[str], int]:
        """Names of some nodes in a location, and how many there are."""
        query = cls.select(cls.name).where(cls.location == location).order_by(cls.name)
        return [node.name for node in query.limit(limit)], query.count()

    @property
    def token_reference(self) -> str:
        """Name of the secret that holds the API token."""
        return f"node/{self.id}/token"


class TemplateGroup(Versioned, Table):
    """One logical template: on each node at most one PVE template stands for it."""

    id = AutoField()
    name = CharField(unique=True)
    os_family = CharField(max_length=16)
    default_user = CharField(null=True)
    minimum_disk_bytes = BigIntegerField(null=True)
    minimum_memory_bytes = BigIntegerField(null=True)
    hidden = BooleanField(default=False)
    """Owners are not offered it."""
    position = IntegerField(default=0)
    """Where it stands in lists for people."""
    created_at = UtcField(default=now)
    updated_at = UtcField(default=now)

    @classmethod
    def exists(cls, id_: int) -> bool:
        """Whether there is a group with this id."""
        return bool(cls.select().where(cls.id == id_).exists())

    def remove(self) -> None:
        """Delete the group. Raises InUseError when a template belongs to it."""
        with unused(f"A template belongs to group {self.name}."):
            self.delete_instance()


class Template(Versioned, Table):
    """A PVE template on one node that servers are cloned from."""

    id = AutoField()
    name = CharField()
    group = ForeignKeyField(TemplateGroup, backref="templates", null=True, on_delete="RESTRICT")
    group_id: int | None
    node = ForeignKeyField(Node, backref="templates", on_delete="RESTRICT")
    node_id: int
    vmid = IntegerField()
    os_family = CharField(max_length=16)
    default_user = CharField(null=True)
    storage = CharField(null=True)
    """Where its system disk is; None: the node did not say."""
    minimum_disk_bytes = BigIntegerField(null=True)
    minimum_memory_bytes = BigIntegerField(null=True)
    hidden = BooleanField(default=False)
    """Owners are not offered it."""
    position = IntegerField(default=0)
    """Where it stands in lists for people."""
    missing_since = UtcField(null=True)
    """Since when the node has no such template; None: it has it, as far as we know."""
    created_at = UtcField(default=now)
    updated_at = UtcField(default=now)

    class Meta:
        indexes = ((("node", "vmid"), True), (("group", "node"), True))

    def remove(self) -> None:
        """Delete the template. Raises InUseError when a server was made from it."""
        with unused(f"A server was made from template {self.name}."):
            self.delete_instance()

    @classmethod
    def on(cls, node: Node) -> "list[Template]":
        """The templates of a node."""
        return list(cls.select().where(cls.node == node))

    @classmethod
    def record_presence(cls, node: Node, present: Collection[int], absent: Collection[int]) -> None:
        """Note which templates of a node are there.

        Args:
            present: VMIDs that the node has.
            absent: ids of templates that it has not, or that are no templates any more.
        """
        gone = cls.id.in_(list(absent))
        cls.update(missing_since=now()).where(gone & cls.missing_since.is_null()).execute()
        back = (cls.node == node) & cls.vmid.in_(list(present)) & ~gone & cls.missing_since.is_null(False)
        cls.update(missing_since=None).where(back).execute()

    @classmethod
    def names_on(cls, node: Node, limit: int) -> tuple[list[str], int]:
        """Names of some templates on a node, and how many there are."""
        query = cls.select(cls.name).where(cls.node == node).order_by(cls.name)
        return [template.name for template in query.limit(limit)], query.count()

    @property
    def is_offered(self) -> bool:
        """Whether owners may use it."""
        return not self.hidden and not (self.group and self.group.hidden) and self.missing_since is None

    @classmethod
    def offered_on(cls, node: Node) -> Any:
        """A select of the templates of a node that owners may use."""
        shown = ~cls.hidden & (cls.group.is_null() | ~TemplateGroup.hidden)
        return cls.with_places().where((cls.node == node) & shown & cls.missing_since.is_null())

    @property
    def user(self) -> str | None:
        """The account that cloud-init sets up; None: the one that the image names."""
        return self.default_user or (self.group.default_user if self.group else None)

    @property
    def least_disk_bytes(self) -> int | None:
        """The smallest system disk that a server needs for it; None: not known."""
        return _greatest(self.minimum_disk_bytes, self.group.minimum_disk_bytes if self.group else None)

    @property
    def least_memory_bytes(self) -> int | None:
        """The least memory that a server needs for it; None: any will do."""
        return _greatest(self.minimum_memory_bytes, self.group.minimum_memory_bytes if self.group else None)

    @classmethod
    def with_places(cls) -> Any:
        """A select of templates, with node, location and group joined."""
        query = cls.select(cls, Node, Location, TemplateGroup).join(Node).join(Location).switch(cls)
        return query.join(TemplateGroup, JOIN.LEFT_OUTER)

    @classmethod
    def with_node(cls, id_: int) -> "Template | None":
        """The template with its node, in one query; None when there is none."""
        found: Template | None = cls.with_places().where(cls.id == id_).first()
        return found

    @classmethod
    def by_group(cls, groups: Iterable[TemplateGroup]) -> "dict[int, list[Template]]":
        """The templates of groups, by group id; one query."""
        found: dict[int, list[Template]] = {}
        for template in cls.select().where(cls.group.in_([group.id for group in groups])).order_by(cls.node):
            assert template.group_id is not None
            found.setdefault(template.group_id, []).append(template)
        return found

    @classmethod
    def of_group(cls, group_id: int) -> "list[Template]":
        """The templates of a group, with their nodes."""
        return list(cls.with_places().where(cls.group == group_id).order_by(cls.node))


def _greatest(*values: int | None) -> int | None:
    return max((value for value in values if value), default=None)
