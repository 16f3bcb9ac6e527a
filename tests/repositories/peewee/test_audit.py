"""The audit log in the store: nothing is changed, what was tampered with is found, and what is too old goes."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from jotunheim.repositories.peewee import database
from jotunheim.repositories.peewee.audit import FIRST_HASH, AuditAnchor, AuditEntry
from jotunheim.repositories.peewee.database import now, transact
from jotunheim.services.audit import reading, records
from jotunheim.services.audit.floods import PER_ADDRESS, PER_MINUTE, Floods, Surplus
from jotunheim.services.audit.masking import MASK, MAX_DOCUMENT, kept, masked
from jotunheim.services.audit.reading import prune, verify
from jotunheim.services.audit.records import Event, Who, record
from jotunheim.settings import Settings
from tests.support import databases

DAY = timedelta(days=1)
_COPIED = (
    "INSERT INTO audit_entry (id, at, source, action, outcome, times, previous_hash, hash)"
    " SELECT {}, at, source, action, outcome, times, previous_hash, hash FROM audit_entry WHERE id = 1"
)


@pytest.fixture(params=["sqlite", "postgresql"])
def either_store(request: pytest.FixtureRequest, store: Settings) -> Iterator[str]:
    """An empty store, on either database."""
    if request.param == "sqlite":
        yield "sqlite"
        return
    with databases.postgresql() as server:
        database.connect(Settings(state_dir=store.state_dir, database_url=server.url))
        database.migrate()
        yield "postgresql"
        database.database.close()


def _write(*actions: str) -> None:
    for action in actions:
        transact(lambda action=action: record(Event(action, Who(1, "a@example.com"), after={"a": action})))  # type: ignore[misc]


def _entries() -> list[AuditEntry]:
    return [entry for _, entry in AuditEntry.all() if entry]


def _unguarded(sql: str) -> None:
    """Do what somebody does who has the database: the triggers go first."""
    for trigger in ("audit_entry_unchanged", "audit_entry_kept"):
        database.database.execute_sql(f"DROP TRIGGER IF EXISTS {trigger}")
    database.database.execute_sql(sql)


def _aged(days: int) -> None:
    """Add an entry of so many days ago."""
    real = records.now
    records.now = lambda: real() - days * DAY  # type: ignore[assignment]
    try:
        _write(f"old.{days}")
    finally:
        records.now = real  # type: ignore[assignment]


def test_entries_follow_each_other(either_store: str) -> None:
    _write("one", "two", "three")
    entries = _entries()
    assert [(entry.id, entry.action) for entry in entries] == [(1, "one"), (2, "two"), (3, "three")]
    assert [entry.previous_hash for entry in entries] == [FIRST_HASH, entries[0].hash, entries[1].hash]
    found = verify()
    assert (found.wrong, found.entries, found.last.id) == (None, 3, 3)
    assert verify(entries[1].hash).wrong is None
    assert verify("f" * 64).wrong == "No entry has the hash that is expected."


def test_what_is_undone_leaves_no_entry() -> None:
    def fail() -> None:
        record(Event("undone"))
        raise ValueError("afterwards")

    with pytest.raises(ValueError, match="afterwards"):
        transact(fail)
    assert _entries() == []


def test_writers_at_once_make_one_chain(either_store: str) -> None:
    barrier = threading.Barrier(20)

    def write(number: int) -> None:
        barrier.wait()
        for part in range(5):
            _write(f"{number}.{part}")
        database.database.close()

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(write, range(20)))
    found = verify()
    assert (found.wrong, found.entries, found.last.id) == (None, 100, 100)
    assert len({entry.action for entry in _entries()}) == 100


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE audit_entry SET action = 'x'",
        "DELETE FROM audit_entry",
        "DELETE FROM audit_entry WHERE id = 1",
    ],
)
def test_the_database_keeps_entries_as_they_are(either_store: str, sql: str) -> None:
    _write("one", "two")
    with pytest.raises(Exception, match="neither changed nor deleted"):
        database.database.execute_sql(sql)
    assert (verify().wrong, verify().entries) == (None, 2)


def test_postgresql_does_not_empty_the_log(store: Settings) -> None:
    with databases.postgresql() as server:
        database.connect(Settings(state_dir=store.state_dir, database_url=server.url))
        database.migrate()
        _write("one")
        with pytest.raises(Exception, match="neither changed nor deleted"):
            database.database.execute_sql("TRUNCATE audit_entry")
        assert verify().entries == 1
        database.database.close()


@pytest.mark.parametrize(
    ("sql", "wrong_id", "says"),
    [
        ("UPDATE audit_entry SET actor_email = 'b@example.com' WHERE id = 3", 3, "Entry 3 was changed"),
        ("UPDATE audit_entry SET after = '{}' WHERE id = 3", 3, "Entry 3 was changed"),
        ("UPDATE audit_entry SET at = at + 1 WHERE id = 5", 5, "Entry 5 was changed"),
        ("UPDATE audit_entry SET request = 'x' WHERE id = 1", 1, "Entry 1 was changed"),
        ("DELETE FROM audit_entry WHERE id = 3", 4, "Entry 3 is missing"),
        ("DELETE FROM audit_entry WHERE id = 1", 2, "Entry 1 is missing"),
        ("UPDATE audit_entry SET id = 9 WHERE id = 2", 3, "Entry 2 is missing"),
        ("UPDATE audit_entry SET hash = 'x' WHERE id = 2", 2, "Entry 2 was changed"),
        ("UPDATE audit_entry SET at = 'x' WHERE id = 4", 4, "Entry 4 was changed"),
        ("UPDATE audit_entry SET at = 9000000000000000000 WHERE id = 2", 2, "Entry 2 was changed"),
        ("UPDATE audit_entry SET action = x'ff' WHERE id = 2", 2, "Entry 2 was changed"),
        ("UPDATE audit_entry SET after = CAST(x'ff' AS TEXT) WHERE id = 2", 2, "Entry 2 was changed"),
        (_COPIED.format(0), 0, "Entry 0 was put before the others"),
        (_COPIED.format(-7), -7, "Entry -7 was put before the others"),
    ],
)
def test_tampering_is_found_and_the_first_wrong_entry_named(sql: str, wrong_id: int, says: str) -> None:
    _write("one", "two", "three", "four", "five")
    _unguarded(sql)
    found = verify()
    assert found.wrong_id == wrong_id
    assert found.wrong
    assert found.wrong.startswith(says)


def test_swapped_entries_are_found() -> None:
    _write("one", "two", "three")
    _unguarded("UPDATE audit_entry SET id = 5 - id + 100 WHERE id > 1")
    _unguarded("UPDATE audit_entry SET id = id - 100 WHERE id > 100")
    assert [entry.action for entry in _entries()] == ["one", "three", "two"]
    assert verify().wrong_id == 2


def test_one_entry_made_anew_breaks_what_follows() -> None:
    _write("one", "two", "three")
    _unguarded("UPDATE audit_entry SET action = 'other' WHERE id = 2")
    changed = AuditEntry.get_by_id(2)
    _unguarded(f"UPDATE audit_entry SET hash = '{changed.digest()}' WHERE id = 2")
    found = verify()
    assert found.wrong_id == 3
    assert found.wrong
    assert "does not follow entry 2" in found.wrong


def test_a_missing_end_is_found_by_a_hash_that_was_noted() -> None:
    _write("one", "two", "three")
    noted = verify().last.hash
    _write("four")
    assert verify(noted).wrong is None
    _unguarded("DELETE FROM audit_entry WHERE id >= 3")
    assert verify().wrong is None  # nothing in the database tells
    assert verify(noted).wrong == "No entry has the hash that is expected."


def test_old_entries_go_and_the_rest_is_still_proven(either_store: str) -> None:
    for days in (40, 35, 31, 3):
        _aged(days)
    _write("new")
    noted = verify().last.hash
    assert prune(0) == 0
    assert prune(30) == 3
    assert [entry.action for entry in _entries()] == ["old.3", "new", "audit.prune"]
    anchor = AuditAnchor.link()
    assert anchor.id == 3
    assert json.loads(AuditEntry.get_by_id(6).after) == {"last_id": 3, "hash": anchor.hash, "entries": 3}
    assert (verify().wrong, verify(noted).wrong, verify().first_id) == (None, None, 4)
    assert prune(30) == 0
    _aged(3)
    assert prune(1) == 1  # behind it stands one that is younger: ages are those of the beginning
    assert verify().wrong is None
    with pytest.raises(Exception, match="neither changed nor deleted"):
        database.database.execute_sql("DELETE FROM audit_entry")


def test_a_log_of_which_all_is_too_old_goes_on_where_it_was(either_store: str) -> None:
    _aged(9)
    _aged(8)
    assert prune(7) == 2
    assert [(entry.id, entry.action) for entry in _entries()] == [(3, "audit.prune")]
    assert verify().wrong is None


def test_many_old_entries_go_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_PRUNED_AT_ONCE", 4)
    for _ in range(10):
        _aged(5)
    assert prune(2) == 10
    assert [entry.action for entry in _entries()] == ["audit.prune"] * 3
    assert verify().wrong is None


def test_entries_that_went_without_an_entry_about_it_are_missed() -> None:
    _write("one", "two", "three")
    first = AuditEntry.get_by_id(1)
    _unguarded("DELETE FROM audit_entry WHERE id = 1")
    _unguarded(f"INSERT INTO audit_anchor (id, last_id, hash) VALUES (1, 1, '{first.hash}')")
    found = verify()
    assert found.wrong
    assert "no entry tells that they were deleted" in found.wrong


def test_secrets_are_masked_by_name_and_by_looks() -> None:
    token = "jtn_" + "a1" * 24
    document = {
        "password": "x",
        "root_password": "x",
        "token_secret": "x",
        "current_password": "x",
        "code": "123456",
        "recovery_codes": ["x"],
        "private_key": "x",
        "uri": "otpauth://x",
        "csrf_token": "x",
        "ticket": "x",
        "has_password": True,
        "nothing": {"password": None},
        "token": {"id": 1, "name": f"copied {token} by mistake"},
        "tokens": [{"secret": "x"}],
        "token_id": "root@pam!jotunheim",
        "short_code": "r1",
        "hotplug": "disk",
        "error": {"code": "node_unavailable"},
        "notes": "-----BEGIN OPENSSH PRIVATE KEY-----",
    }
    assert masked(document) == {
        **dict.fromkeys(
            ("password", "root_password", "token_secret", "current_password", "code", "recovery_codes",
             "private_key", "uri", "csrf_token", "ticket", "notes"),
            MASK,
        ),
        "has_password": True,
        "nothing": {"password": None},
        "token": {"id": 1, "name": f"copied {MASK} by mistake"},
        "tokens": [{"secret": MASK}],
        "token_id": "root@pam!jotunheim",
        "short_code": "r1",
        "hotplug": "disk",
        "error": {"code": "node_unavailable"},
    }  # fmt: skip


@pytest.mark.parametrize(
    "document",
    [
        {"text": "x" * 10**6},
        {"text": "\x00\ud800\x1b[31m" * 10**5},
        {"list": ["{{ lookup('pipe', 'id') }}"] * 10**5},
        {f"key {number} " + "y" * 500: "z" * 500 for number in range(2000)},
        {"a": [[[["b" * 300] * 60] * 60] * 5] * 3},
    ],
    ids=["text", "control characters", "list", "keys", "nested"],
)
def test_what_is_kept_is_small_and_can_be_read(document: dict[str, Any]) -> None:
    text = kept(document)
    assert text
    assert len(text) <= MAX_DOCUMENT
    assert text.isascii()
    json.dumps(json.loads(text), ensure_ascii=False).encode()


def test_deep_nesting_ends() -> None:
    nested: Any = "end"
    for _ in range(200):
        nested = {"in": nested}
    assert len(kept(nested) or "") < 200


def test_outsiders_get_few_entries_and_the_rest_is_counted() -> None:
    at = [1000.0]
    floods = Floods(lambda: at[0])
    assert floods.over() == []
    assert [floods.admits("192.0.2.1") for _ in range(25)].count(True) == PER_ADDRESS
    same_network = [floods.admits(f"2001:db8::{number:x}") for number in range(25)]
    assert same_network.count(True) == PER_ADDRESS
    many = [floods.admits(f"198.51.{number // 250}.{number % 250}") for number in range(5000)]
    assert many.count(True) == PER_MINUTE - 2 * PER_ADDRESS
    assert floods.over() == []
    at[0] += 60
    assert set(floods.over()) == {
        Surplus("192.0.2.1", 15),
        Surplus("2001:db8::/64", 15),
        Surplus(None, 5000 - many.count(True)),
    }
    assert floods.over() == []
    assert floods.admits("192.0.2.1")


def test_entries_are_found_by_each_filter_and_behind_a_cursor(store: Settings, tmp_path: Path) -> None:
    for number in range(7):
        who = Who(number, f"{number % 2}@example.com", request_id=f"r{number}")
        outcome = "forbidden" if number == 3 else "done"
        event = Event(f"a.{number % 3}", who, resource_type="t", resource_id=number, outcome=outcome)
        transact(lambda event=event: record(event))  # type: ignore[misc]
    middle = AuditEntry.get_by_id(4).at

    def ids(limit: int = 50, cursor: int | None = None, **filters: Any) -> list[int]:
        return [entry.id for entry in reading.list_entries(filters, cursor, limit)[0]]

    assert ids(actor_email="1@example.com") == [6, 4, 2]
    assert ids(action="a.0") == [7, 4, 1]
    assert ids(resource_type="t", resource_id="5") == [6]
    assert ids(outcome="forbidden") == [4]
    assert ids(request_id="r0") == [1]
    assert ids(since=middle) == [7, 6, 5, 4]
    assert ids(until=middle) == [3, 2, 1]
    assert reading.list_entries({}, None, 3)[1] == 5
    assert ids(3, 5) == [4, 3, 2]
    assert reading.list_entries({}, 2, 3) == reading.list_entries({"request_id": "r0"}, None, 1)
    assert now() > middle
