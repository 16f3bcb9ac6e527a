"""The first schema. A frozen copy of the tables: it does not follow later changes of the models."""

from typing import Any

from peewee import (
    AutoField,
    BigIntegerField,
    BooleanField,
    CharField,
    CompositeKey,
    FloatField,
    ForeignKeyField,
    IntegerField,
    JSONField,
    Model,
    TextField,
    UUIDField,
)


def up(migrator: Any, db: Any) -> None:  # noqa: ARG001 - what playhouse.migrations calls
    """Create all tables."""

    class AddressPool(Model):
        name = CharField(unique=True)
        family = CharField(max_length=4)
        prefix_length = IntegerField()
        gateway = CharField(null=True)
        vlan = IntegerField(null=True)
        nameservers = JSONField()
        created_at = BigIntegerField()
        updated_at = BigIntegerField()

        class Meta:
            database = db
            table_name = "address_pool"

    db.create_tables([AddressPool])

    class User(Model):
        email = CharField(unique=True)
        name = CharField()
        role = CharField(max_length=16)
        password_hash = CharField(null=True)
        disabled_at = BigIntegerField(null=True)
        created_at = BigIntegerField()

        class Meta:
            database = db
            table_name = "user"

    db.create_tables([User])

    class Location(Model):
        name = CharField()
        short_code = CharField(unique=True)
        created_at = BigIntegerField()
        updated_at = BigIntegerField()

        class Meta:
            database = db
            table_name = "location"

    db.create_tables([Location])

    class Node(Model):
        name = CharField(unique=True)
        location = ForeignKeyField(Location, on_delete="RESTRICT")
        host = CharField()
        port = IntegerField()
        token_id = CharField()
        tls_ca_pem = TextField(null=True)
        tls_fingerprint = CharField(null=True)
        vm_storage = CharField()
        backup_storage = CharField()
        iso_storage = CharField()
        bridge = CharField()
        memory_overcommit = FloatField()
        disk_overcommit = FloatField()
        max_concurrent_clones = IntegerField()
        created_at = BigIntegerField()
        updated_at = BigIntegerField()

        class Meta:
            database = db
            table_name = "node"

    db.create_tables([Node])

    class Template(Model):
        name = CharField()
        node = ForeignKeyField(Node, on_delete="RESTRICT")
        vmid = IntegerField()
        os_family = CharField(max_length=16)
        default_user = CharField(null=True)
        storage = CharField(null=True)
        minimum_disk_bytes = BigIntegerField(null=True)
        created_at = BigIntegerField()
        updated_at = BigIntegerField()

        class Meta:
            database = db
            table_name = "template"
            indexes = ((("node", "vmid"), True),)

    db.create_tables([Template])

    class Server(Model):
        id = UUIDField(primary_key=True)
        vmid = IntegerField(unique=True)
        name = CharField()
        hostname = CharField()
        status = CharField(max_length=16)
        power = CharField(max_length=16)
        owner = ForeignKeyField(User, on_delete="RESTRICT")
        node = ForeignKeyField(Node, on_delete="RESTRICT")
        template = ForeignKeyField(Template, on_delete="RESTRICT")
        cpu = IntegerField()
        memory_bytes = BigIntegerField()
        disk_bytes = BigIntegerField(null=True)
        ssh_keys = JSONField()
        tags = JSONField()
        limits = JSONField()
        external_id = CharField(null=True)
        start_after_build = BooleanField()
        protected = BooleanField()
        created_at = BigIntegerField()
        updated_at = BigIntegerField()

        class Meta:
            database = db
            table_name = "server"
            indexes = ((("owner", "name"), True), (("owner", "external_id"), True), (("status",), False))

    db.create_tables([Server])

    class Address(Model):
        pool = ForeignKeyField(AddressPool, on_delete="RESTRICT", index=False)
        address = CharField(max_length=39)
        sort_key = CharField(max_length=33)
        server = ForeignKeyField(Server, null=True, on_delete="RESTRICT")
        allocated_at = BigIntegerField(null=True)

        class Meta:
            database = db
            table_name = "address"
            indexes = ((("pool", "address"), True), (("pool", "server", "sort_key"), False))

    db.create_tables([Address])

    class ForeignVmid(Model):
        vmid = IntegerField(primary_key=True)
        node = ForeignKeyField(Node, on_delete="CASCADE")
        seen_at = BigIntegerField()

        class Meta:
            database = db
            table_name = "foreign_vmid"

    db.create_tables([ForeignVmid])

    class Job(Model):
        id = UUIDField(primary_key=True)
        type = CharField(max_length=32)
        status = CharField(max_length=16)
        check_only = BooleanField()
        progress = IntegerField()
        attempt = IntegerField()
        max_attempts = IntegerField()
        server = ForeignKeyField(Server, null=True, on_delete="SET NULL")
        node = ForeignKeyField(Node, null=True, on_delete="SET NULL")
        requested_by = CharField()
        request_id = CharField()
        error = JSONField(null=True)
        lease_owner = CharField(null=True)
        lease_expires_at = BigIntegerField(null=True)
        fence = IntegerField()
        created_at = BigIntegerField()
        started_at = BigIntegerField(null=True)
        finished_at = BigIntegerField(null=True)

        class Meta:
            database = db
            table_name = "job"
            indexes = ((("status", "lease_expires_at"), False), (("created_at",), False))

    Job.add_index(
        Job.index(
            Job.server,
            unique=True,
            name="job_one_live_per_server",
            where=Job.status.in_(["queued", "running"]),
        )
    )
    db.create_tables([Job])

    class JobEvent(Model):
        seq = AutoField()
        job = ForeignKeyField(Job, on_delete="CASCADE", index=False)
        at = BigIntegerField()
        type = CharField(max_length=32)
        data = JSONField()

        class Meta:
            database = db
            table_name = "job_event"
            indexes = ((("job", "seq"), False),)

    db.create_tables([JobEvent])

    class JobStep(Model):
        job = ForeignKeyField(Job, on_delete="CASCADE")
        attempt = IntegerField()
        name = CharField()
        status = CharField(max_length=16)
        changed = BooleanField()
        diff = JSONField(null=True)
        started_at = BigIntegerField()
        finished_at = BigIntegerField(null=True)

        class Meta:
            database = db
            table_name = "job_step"

    db.create_tables([JobStep])

    class Label(Model):
        server = ForeignKeyField(Server, on_delete="CASCADE")
        key = CharField(max_length=63)
        value = CharField()

        class Meta:
            database = db
            table_name = "server_label"
            primary_key = CompositeKey("server", "key")
            indexes = ((("key", "value"), False),)

    db.create_tables([Label])

    class PoolNode(Model):
        pool = ForeignKeyField(AddressPool, on_delete="CASCADE")
        node = ForeignKeyField(Node, on_delete="CASCADE")

        class Meta:
            database = db
            table_name = "address_pool_node"
            primary_key = CompositeKey("pool", "node")

    db.create_tables([PoolNode])

    class PveTask(Model):
        job = ForeignKeyField(Job, on_delete="CASCADE")
        operation = CharField(max_length=32)
        upid = CharField(unique=True)
        created_at = BigIntegerField()

        class Meta:
            database = db
            table_name = "pve_task"

    db.create_tables([PveTask])

    class Secret(Model):
        name = CharField(primary_key=True)
        ciphertext = TextField()
        created_at = BigIntegerField()

        class Meta:
            database = db
            table_name = "secret"

    db.create_tables([Secret])

    class StoredAnswer(Model):
        user = ForeignKeyField(User, on_delete="CASCADE")
        key = CharField()
        request_sha256 = CharField(max_length=64)
        status = IntegerField()
        answer = TextField()
        created_at = BigIntegerField(index=True)

        class Meta:
            database = db
            table_name = "stored_answer"
            primary_key = CompositeKey("user", "key")

    db.create_tables([StoredAnswer])

    class Token(Model):
        user = ForeignKeyField(User, on_delete="CASCADE")
        name = CharField()
        sha256 = CharField(unique=True, max_length=64)
        scopes = JSONField()
        expires_at = BigIntegerField(null=True)
        last_used_at = BigIntegerField(null=True)
        revoked_at = BigIntegerField(null=True)
        created_at = BigIntegerField()

        class Meta:
            database = db
            table_name = "token"

    db.create_tables([Token])
