"""What address pools can be told: MAC addresses, quarantine, delegated prefixes.

Columns that must not be null carry their default in the statement, as in 0002.
"""

from typing import Any

from peewee import SQL, BigIntegerField, CharField, IntegerField, UUIDField


def up(migrator: Any, db: Any) -> None:
    """Add the columns; let no address be in two pools, and free ones be found in the order in which they go."""
    zero: list[Any] = [SQL("DEFAULT 0")]
    migrator.migrate(
        migrator.add_column("address_pool", "mac_prefix", CharField(max_length=14, null=True)),
        migrator.add_column(
            "address_pool", "quarantine_seconds", BigIntegerField(constraints=zero), allow_not_null=True
        ),
        migrator.add_column("address_pool", "delegated_prefix_length", IntegerField(null=True)),
        migrator.add_column("address", "free_from", BigIntegerField(constraints=zero), allow_not_null=True),
        migrator.add_column("address", "released_by", UUIDField(null=True)),
        migrator.add_column("server", "mac", CharField(max_length=17, null=True)),
        migrator.drop_index("address", "address_pool_id_address"),
        migrator.drop_index("address", "address_pool_id_server_id_sort_key"),
        migrator.add_index("address", ("sort_key",), unique=True),
        migrator.add_index("address", ("pool_id", "sort_key")),
        migrator.add_index("server", ("mac",), unique=True),
    )
    db.execute_sql(
        "CREATE INDEX address_next ON address (pool_id, free_from, sort_key)"
        " WHERE server_id IS NULL AND reserved_for IS NULL"
    )
