"""The traffic of servers, and what follows from it. Servers that exist are counted from the next reading on."""

from typing import Any

from peewee import (
    BigIntegerField,
    BooleanField,
    CharField,
    CompositeKey,
    ForeignKeyField,
    IntegerField,
    Model,
    UUIDField,
)


def up(migrator: Any, db: Any) -> None:
    """Create the tables; servers say what quota holds them to."""

    class Server(Model):
        id = UUIDField(primary_key=True)

        class Meta:
            database = db
            table_name = "server"

    class TrafficMeter(Model):
        server = ForeignKeyField(Server, primary_key=True, on_delete="CASCADE")
        node_id = IntegerField(null=True)
        pid = IntegerField(null=True)
        uptime_seconds = BigIntegerField()
        in_bytes = BigIntegerField()
        out_bytes = BigIntegerField()
        read_at = BigIntegerField(null=True)
        ended_node_id = IntegerField(null=True)
        ended_pid = IntegerField(null=True)
        ended_uptime_seconds = BigIntegerField()

        class Meta:
            database = db
            table_name = "traffic_meter"

    class TrafficPeriod(Model):
        server_id = UUIDField()
        period = CharField(max_length=7)
        server_name = CharField()
        owner_id = IntegerField(null=True)
        in_bytes = BigIntegerField()
        out_bytes = BigIntegerField()
        credit_bytes = BigIntegerField()
        updated_at = BigIntegerField()

        class Meta:
            database = db
            table_name = "traffic_period"
            primary_key = CompositeKey("server_id", "period")
            indexes = ((("period",), False), (("owner_id",), False))

    class TrafficHistory(Model):
        server = ForeignKeyField(Server, on_delete="CASCADE")
        resolution_seconds = IntegerField()
        at = BigIntegerField()
        in_bytes = BigIntegerField()
        out_bytes = BigIntegerField()

        class Meta:
            database = db
            table_name = "traffic_history"
            primary_key = CompositeKey("server", "resolution_seconds", "at")
            indexes = ((("resolution_seconds", "at"), False),)

    class TrafficThreshold(Model):
        server = ForeignKeyField(Server, on_delete="CASCADE")
        period = CharField(max_length=7)
        percent = IntegerField()
        action = CharField(max_length=16)
        passed_at = BigIntegerField()
        settled_at = BigIntegerField(null=True)
        ended_at = BigIntegerField(null=True)

        class Meta:
            database = db
            table_name = "traffic_threshold"
            primary_key = CompositeKey("server", "period", "percent", "action")

    db.create_tables([TrafficMeter, TrafficPeriod, TrafficHistory, TrafficThreshold])
    migrator.migrate(
        migrator.add_column("server", "throttle_bytes_per_second", BigIntegerField(null=True)),
        migrator.add_column("server", "throttle_set_bytes_per_second", BigIntegerField(null=True)),
        migrator.add_column("server", "suspended_by_quota", BooleanField(default=False)),
    )
