"""The schema: migrations lead to what the models say, and damage is found."""

import importlib
import pkgutil
import sqlite3
from pathlib import Path

import pytest
from playhouse.migrations import Runner
from playhouse.schema_diff import diff_models

from jotunheim.exceptions.model import DataValidationError
from jotunheim.exceptions.repository import UniquenessError
from jotunheim.repositories import peewee as package
from jotunheim.repositories.peewee import database
from jotunheim.repositories.peewee.accounts import User
from jotunheim.repositories.peewee.infrastructure import Location, Node
from jotunheim.repositories.peewee.job_steps import JobStep
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.repositories.peewee.labels import Label
from jotunheim.repositories.peewee.servers import Server
from jotunheim.settings import Settings

MIGRATIONS = [
    "0001_initial",
    "0002_server_life",
    "0003_job_control",
    "0004_job_run",
    "0005_plans",
    "0006_infrastructure",
    "0007_node_sync",
    "0008_ssh_keys_iso",
    "0009_firewall",
    "0010_pools",
    "0011_accounts",
    "0012_audit",
    "0013_backups",
    "0014_backup_schedules",
    "0015_restored_from",
    "0016_webhooks",
    "0017_traffic",
    "0018_drift",
    "0019_orphans",
]


def test_the_migrations_make_what_the_models_describe() -> None:
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
    tables = database.Table.__subclasses__()
    assert len(tables) > 10
    assert not diff_models(database.database.obj, tables)


def test_migrating_twice_does_nothing_the_second_time() -> None:
    assert database.pending_migrations() == []
    assert database.migrate() == []


def test_a_database_of_another_version_is_noticed(tmp_path: Path) -> None:
    database.connect(Settings(state_dir=tmp_path, database_url=f"sqlite:///{tmp_path / 'new.db'}"))
    assert database.pending_migrations() == MIGRATIONS
    assert database.check() == [
        f"Migration {name} is not applied, or unknown to this version." for name in MIGRATIONS
    ]


def test_migrating_keeps_rows_and_what_refers_to_them(tmp_path: Path) -> None:
    database.connect(Settings(state_dir=tmp_path, database_url=f"sqlite:///{tmp_path / 'old.db'}"))
    Runner(database.database.obj, directory=str(database.MIGRATIONS)).up("0001_initial")
    server, job = "0" * 32, "1" * 32
    for statement in (
        "INSERT INTO user (id, email, name, role, created_at) VALUES (1, 'a@b', 'a', 'admin', 0)",
        "INSERT INTO location (id, name, short_code, created_at, updated_at) VALUES (1, 'l', 'l', 0, 0)",
        "INSERT INTO node (id, name, location_id, host, port, token_id, vm_storage, backup_storage, iso_storage, bridge,"
        " memory_overcommit, disk_overcommit, max_concurrent_clones, created_at, updated_at)"
        " VALUES (1, 'n', 1, 'h', 1, 't', 'a', 'b', 'c', 'd', 1, 1, 1, 0, 0)",
        "INSERT INTO template (id, name, node_id, vmid, os_family, created_at, updated_at)"
        " VALUES (1, 't', 1, 9000, 'linux', 0, 0)",
        "INSERT INTO server (id, vmid, name, hostname, status, power, owner_id, node_id, template_id, cpu, memory_bytes,"
        " ssh_keys, tags, limits, start_after_build, protected, created_at, updated_at)"
        f" VALUES ('{server}', 1000, 's', 's', 'ready', 'running', 1, 1, 1, 1, 1, '[]', '[]', '{{}}', 1, 0, 0, 0)",
        f"INSERT INTO server_label (server_id, key, value) VALUES ('{server}', 'a', 'b')",
        "INSERT INTO job (id, type, status, check_only, progress, attempt, max_attempts, server_id, requested_by,"
        " request_id, fence, created_at)"
        f" VALUES ('{job}', 'server.build', 'succeeded', 0, 100, 1, 5, '{server}', 'a@b', 'r', 1, 0)",
        "INSERT INTO job_step (job_id, attempt, name, status, changed, started_at)"
        f" VALUES ('{job}', 1, 'Clone', 'ok', 1, 0)",
    ):
        database.database.execute_sql(statement)
    assert database.migrate() == MIGRATIONS[1:]
    assert database.check() == []
    kept = Server.get()
    assert (kept.name, kept.network, kept.agent, kept.suspended_at) == ("s", {}, True, None)
    assert Label.of([kept]) == {kept.id: {"a": "b"}}
    assert (Job.get().server_uuid, Job.get().owner_id) == (kept.id, 1)
    assert [(step.name, step.upids) for step in JobStep.of([Job.get()])[Job.get().id]] == [("Clone", [])]


def test_the_connection_is_durable_and_keeps_references_whole() -> None:
    pragmas = {name: database.database.execute_sql(f"PRAGMA {name}").fetchone()[0] for name in
               ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")}  # fmt: skip
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 30_000}


def test_a_dangling_reference_is_found(store: Settings) -> None:
    with sqlite3.connect(store.state_dir / "jotunheim.db") as raw:
        raw.execute(
            "INSERT INTO node (name, location_id, host, port, token_id, vm_storage, backup_storage, iso_storage, bridge,"
            " memory_overcommit, disk_overcommit, max_concurrent_clones, drained, created_at, updated_at)"
            " VALUES ('n', 77, 'h', 1, 't', 'a', 'b', 'c', 'd', 1, 1, 1, 0, 0, 0)"
        )
    raw.close()
    assert database.check() == ["Row 1 of node refers to a missing row of location."]
    assert Node.select().count() == 1


def test_a_backup_is_a_whole_database(store: Settings, tmp_path: Path) -> None:
    Location.create(name="L", short_code="l")
    copy = tmp_path / "copy.db"
    database.backup(copy)
    assert copy.stat().st_mode & 0o077 == 0
    with sqlite3.connect(copy) as raw:
        assert raw.execute("SELECT short_code FROM location").fetchall() == [("l",)]
    raw.close()
    with pytest.raises(DataValidationError, match="FILE"):
        database.backup(copy)


def test_a_clash_rolls_back_and_says_which_column() -> None:
    User.create(email="a@example.com", name="A", role="admin")

    def clash() -> None:
        with database.unique("other", email="taken"):
            Location.create(name="L", short_code="l")
            User.create(email="a@example.com", name="B", role="admin")

    with pytest.raises(UniquenessError, match="taken"):
        clash()
    assert Location.select().count() == 0


@pytest.mark.parametrize("url", ["mysql://localhost/x", "jotunheim.db", "sqlite:/x"])
def test_an_unknown_database_is_refused_without_repeating_its_url(url: str) -> None:
    with pytest.raises(DataValidationError) as raised:
        database.connect(Settings(database_url=url))
    assert [problem.field for problem in raised.value.problems] == ["JOTUNHEIM_DATABASE_URL"]
    assert url not in str(raised.value.problems)
