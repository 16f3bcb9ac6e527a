"""Locations, nodes and templates: where servers can be, and what they are made from."""

from peewee import (
    AutoField,
    BigIntegerField,
    BooleanField,
    CharField,
    FloatField,
    ForeignKeyField,
    IntegerField,
    TextField,
)

from jotunheim.repositories.peewee.database import Table, UtcField, Versioned, now, unused


class Location(Versioned, Table):
    """A place that nodes stand in."""

    id = AutoField()
    name = CharField()
    short_code = CharField(unique=True)
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
    def names_in(cls, location: Location, limit: int) -> tuple[list[str], int]:
        """Names of some nodes in a location, and how many there are."""
        query = cls.select(cls.name).where(cls.location == location).order_by(cls.name)
        return [node.name for node in query.limit(limit)], query.count()

    @property
    def token_reference(self) -> str:
        """Name of the secret that holds the API token."""
        return f"node/{self.id}/token"


class Template(Versioned, Table):
    """A PVE template on one node that servers are cloned from."""

    id = AutoField()
    name = CharField()
    node = ForeignKeyField(Node, backref="templates", on_delete="RESTRICT")
    node_id: int
    vmid = IntegerField()
    os_family = CharField(max_length=16)
    default_user = CharField(null=True)
    storage = CharField(null=True)
    """Where its system disk is; None: the node did not say."""
    minimum_disk_bytes = BigIntegerField(null=True)
    created_at = UtcField(default=now)
    updated_at = UtcField(default=now)

    class Meta:
        indexes = ((("node", "vmid"), True),)

    def remove(self) -> None:
        """Delete the template. Raises InUseError when a server was made from it."""
        with unused(f"A server was made from template {self.name}."):
            self.delete_instance()

    @classmethod
    def names_on(cls, node: Node, limit: int) -> tuple[list[str], int]:
        """Names of some templates on a node, and how many there are."""
        query = cls.select(cls.name).where(cls.node == node).order_by(cls.name)
        return [template.name for template in query.limit(limit)], query.count()

    @classmethod
    def with_node(cls, id_: int) -> "Template | None":
        """The template with its node, in one query; None when there is none."""
        found: Template | None = cls.select(cls, Node).join(Node).where(cls.id == id_).first()
        return found
