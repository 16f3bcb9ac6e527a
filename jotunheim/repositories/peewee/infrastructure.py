"""Locations, nodes and templates: where servers can be, and what they are made from."""

from peewee import AutoField, BigIntegerField, CharField, FloatField, ForeignKeyField, IntegerField, TextField

from jotunheim.repositories.peewee.database import Table, UtcField, now


class Location(Table):
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


class Node(Table):
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
    created_at = UtcField(default=now)
    updated_at = UtcField(default=now)

    @classmethod
    def exists(cls, id_: int) -> bool:
        """Whether there is a node with this id."""
        return bool(cls.select().where(cls.id == id_).exists())

    @property
    def token_reference(self) -> str:
        """Name of the secret that holds the API token."""
        return f"node/{self.id}/token"


class Template(Table):
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

    @classmethod
    def with_node(cls, id_: int) -> "Template | None":
        """The template with its node, in one query; None when there is none."""
        found: Template | None = cls.select(cls, Node).join(Node).where(cls.id == id_).first()
        return found
