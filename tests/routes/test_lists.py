"""What holds for all lists that there are: pages, sorting, filters, and as many queries however long they are."""

import ipaddress
import re
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
from pydantic import BaseModel

from jotunheim.bootstrap import api
from jotunheim.bootstrap.store import initialize
from jotunheim.data.actor import Actor
from jotunheim.data.answers import AuditList, UnmanagedList, UsageList
from jotunheim.data.fields import View
from jotunheim.data.job import JobStatus
from jotunheim.data.server.iso import IsoView
from jotunheim.data.server.status import ServerStatus
from jotunheim.data.server.traffic import ServerUsage
from jotunheim.data.server.view import SnapshotView
from jotunheim.exceptions.model import DataValidationError
from jotunheim.repositories.peewee.accounts import Role, Token, User
from jotunheim.repositories.peewee.addresses import AddressPool
from jotunheim.repositories.peewee.backup_schedules import BackupSchedule
from jotunheim.repositories.peewee.backups import Backup
from jotunheim.repositories.peewee.database import database, now
from jotunheim.repositories.peewee.drifts import Drift
from jotunheim.repositories.peewee.firewalls import Ruleset, ServerRuleset
from jotunheim.repositories.peewee.infrastructure import Location, Node, Template, TemplateGroup
from jotunheim.repositories.peewee.job_steps import JobStep
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.repositories.peewee.labels import Label
from jotunheim.repositories.peewee.node_state import NodeStorage
from jotunheim.repositories.peewee.orphans import Orphan
from jotunheim.repositories.peewee.pve_tasks import PveTask
from jotunheim.repositories.peewee.servers import Server
from jotunheim.repositories.peewee.sessions import Session
from jotunheim.repositories.peewee.ssh_keys import SshKey
from jotunheim.repositories.peewee.traffic import TrafficPeriod
from jotunheim.repositories.peewee.webhooks import Webhook, WebhookDelivery, WebhookEvent
from jotunheim.routes import api_admin, api_auth, api_client
from jotunheim.routes.call import Call, Context, ListQuery
from jotunheim.routes.operation import Operation
from jotunheim.routes.streams import EventQuery
from jotunheim.services.audit.records import Event, record
from jotunheim.settings import Settings
from tests.support.statements import statements

DOCS = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
MOST_QUERIES = 12
MANY = 12
SERVERS: dict[str, tuple[Any, int]] = {
    "name": ("s3", 1),
    "status": ("ready", 12),
    "power": ("running", 0),
    "suspended": (False, 12),
    "protected": (True, 0),
    "template_id": (4, 1),
    "label_selector": ("a=b,number=3", 1),
}
SERVER_JOBS: dict[str, tuple[Any, int]] = {
    "status": ("queued", 1),
    "type": ("server.delete", 0),
    "check": (True, 0),
}
JOBS: dict[str, tuple[Any, int]] = {
    "status": ("queued", 12),
    "type": ("server.power", 24),
    "check": (False, 24),
    "server_id": (uuid.UUID(int=4), 1),
    "request_id": ("r", 24),
}
DELIVERIES: dict[str, tuple[Any, int]] = {
    "status": ("pending", 12),
    "type": ("webhook.test", 0),
    "event_id": (uuid.UUID(int=4), 1),
    "resource_type": ("job", 12),
    "resource_id": ("j3", 1),
    "since": ("2020-01-01T00:00:00Z", 12),
    "until": ("2020-01-01T00:00:00Z", 0),
}
FILTERS: dict[str, dict[str, tuple[Any, int]]] = {
    "/admin/locations": {"name": ("l3", 1), "short_code": ("l3", 1)},
    "/admin/nodes": {"name": ("n3", 1), "location_id": (4, 1), "drained": (True, 0)},
    "/admin/templates": {"name": ("t3", 1), "node_id": (1, 12), "os_family": ("windows", 0), "vmid": (9003, 1),
                         "group_id": (4, 1), "hidden": (True, 0)},
    "/admin/address-pools": {"name": ("p3", 1), "node_id": (4, 1), "family": ("ipv6", 0)},
    "/admin/address-pools/{id:row}/addresses": {"state": ("allocated", 12), "server_id": (uuid.UUID(int=4), 1)},
    "/admin/servers": SERVERS | {"owner_id": (2, 12), "node_id": (4, 1), "location_id": (4, 1), "vmid": (1003, 1),
                                 "external_id": ("e3", 1)},
    "/admin/jobs": JOBS | {"node_id": (4, 2), "owner_id": (1, 0), "requested_by": ("o", 24)},
    "/client/servers": SERVERS,
    "/client/jobs": JOBS,
    "/client/servers/{id:uuid}/jobs": SERVER_JOBS,
    "/admin/nodes/{id:row}/storages": {"shared": (True, 1), "active": (True, 12)},
    "/admin/template-groups": {"name": ("g3", 1), "os_family": ("windows", 0), "hidden": (False, 12)},
    "/client/servers/{id:uuid}/templates": {"name": ("t0", 1), "os_family": ("linux", 12)},
    "/admin/firewall-rulesets": {"name": ("w3", 1)},
    "/client/firewall-rulesets": {"name": ("w3", 1)},
    "/admin/firewall-rulesets/{id:row}/servers": {"name": ("s3", 1), "outdated": (True, 12)},
    "/admin/servers/{id:uuid}/isos": {"name": ("image-3", 1)},
    "/client/servers/{id:uuid}/isos": {"name": ("image-3", 1)},
    "/admin/servers/{id:uuid}/backups": {"status": ("ready", 12), "locked": (True, 1)},
    "/client/servers/{id:uuid}/backups": {"status": ("ready", 12), "locked": (True, 1)},
    "/admin/servers/{id:uuid}/backup-schedules": {"enabled": (True, 12)},
    "/client/servers/{id:uuid}/backup-schedules": {"enabled": (True, 12)},
    "/admin/backups": {"status": ("failed", 0), "locked": (True, 1), "server_id": (uuid.UUID(int=1), 12),
                       "owner_id": (2, 12), "node_id": (4, 1), "storage": ("st3", 1), "kept": (True, 0)},
    "/admin/orphans": {"node_id": (4, 1), "kind": ("disk", 1), "vmid": (903, 1), "storage": ("st3", 1),
                       "protected": (True, 1)},
    "/admin/usage": {"period": ("2020-01", 0), "owner_id": (2, 12), "server_id": (uuid.UUID(int=4), 1)},
    "/admin/drift": {"status": ("in_sync", 12), "server_id": (uuid.UUID(int=4), 1), "owner_id": (2, 12), "node_id": (4, 1)},
    "/admin/ssh-keys": {"name": ("k3", 1), "fingerprint": ("f3", 1), "user_id": (1, 0), "mine": (True, 12)},
    "/client/ssh-keys": {"name": ("k3", 1), "fingerprint": ("f3", 1)},
    "/admin/users": {"email": ("U3@example.com", 1), "role": ("r3", 1), "disabled": (True, 0)},
    "/admin/roles": {"name": ("r3", 1), "admin": (False, 13)},
    "/admin/webhooks": {"enabled": (True, 12), "owner_id": (2, 12)},
    "/client/webhooks": {"enabled": (False, 0)},
    "/admin/webhooks/{id:row}/deliveries": DELIVERIES,
    "/client/webhooks/{id:row}/deliveries": DELIVERIES,
    "/auth/tokens": {},
    "/auth/sessions": {},
}  # fmt: skip
"""For each filter of each list a value, and how many entries have it in the store with many."""


def entries_of(answer: type[BaseModel] | str) -> str | None:
    """The field of an answer that lists things; None: it is no list."""
    for name, field in () if isinstance(answer, str) else answer.model_fields.items():
        entry = (get_args(field.annotation) or (None,))[0]
        if get_origin(field.annotation) is list and isinstance(entry, type) and issubclass(entry, View):
            return name
    return None


FOUND = [
    operation
    for operation in [*api_admin.operations, *api_client.operations, *api_auth.operations]
    if operation.method == "GET" and entries_of(operation.answer)
]
ASKED_FROM_NODES = {UnmanagedList}
"""Lists that no store has; tests/end_to_end/test_import.py reads them."""
PAGED = [
    operation
    for operation in FOUND
    if operation.query is not EventQuery and operation.answer not in (UsageList, ServerUsage, AuditList)
]
LISTS = [operation for operation in PAGED if operation.answer not in ASKED_FROM_NODES]
each_list = pytest.mark.parametrize("operation", LISTS, ids=lambda operation: operation.path)


class Store:
    """As many of everything as is asked for."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.owner = User.create(email="owner@example.com", name="O", role="client")
        self.pool = AddressPool.create(name="first", family="ipv4", prefix_length=16)
        self.count = 0
        self.read: dict[str, list[tuple[int, int]]] = {}
        """Numbers of entries and of queries, each time that a list was read."""
        self.snapshots: list[SnapshotView] = []
        self.images: list[IsoView] = []

    def fill(self, count: int) -> None:
        """Add until there are so many of each."""
        for number in range(self.count, count):
            self._add(number)
        self.count = count

    def _add(self, number: int) -> None:
        location = Location.create(name=f"l{number}", short_code=f"l{number}")
        node = Node.create(
            name=f"n{number}", location=location, host="h", port=1, token_id="t", vm_storage="s",
            backup_storage="s", iso_storage="s", bridge="b", memory_overcommit=1, disk_overcommit=1,
            max_concurrent_clones=1,
        )  # fmt: skip
        group = TemplateGroup.create(name=f"g{number}", os_family="linux")
        template = Template.create(
            name=f"t{number}", node=1, vmid=9000 + number, os_family="linux", group=group
        )
        Orphan.create(
            node=node, key=f"o{number}", kind="vm" if number else "disk", vmid=900 + number, name=f"o{number}",
            storage=f"st{number}", protected=number == 3,
        )  # fmt: skip
        NodeStorage.create(node=1, name=f"st{number}", type="dir", shared=number == 3)
        SshKey.create(user=self.owner, name=f"k{number}", public_key="k", fingerprint=f"f{number}")
        pool = (
            self.pool
            if number == 0
            else AddressPool.create(name=f"p{number}", family="ipv4", prefix_length=24)
        )
        pool.bind_to([node.id])
        if number:
            pool.add_addresses([ipaddress.ip_address(f"10.1.{number}.1")])
        self.pool.add_addresses([ipaddress.ip_address(f"10.0.0.{number + 1}")])
        server = Server.create(
            id=uuid.UUID(int=number + 1), vmid=1000 + number, name=f"s{number}", hostname="h", owner=self.owner,
            node=node, template=template, cpu=1, memory_bytes=1, status=ServerStatus.READY, external_id=f"e{number}",
            expires_at=now(), network={"vlan": 1},
        )  # fmt: skip
        TrafficPeriod.create(
            server_id=server.id, period=f"{now():%Y-%m}", server_name=server.name, owner_id=self.owner.id,
            in_bytes=number, out_bytes=100 - number,
        )  # fmt: skip
        Drift.create(server=server, status="in_sync", found_at=now())
        Ruleset.create(name=f"w{number}")
        Role.create(name=f"r{number}", admin=False, permissions=[])
        User.create(email=f"u{number}@example.com", name="U", role=f"r{number}")
        Token.create(user=self.owner, name=f"t{number}", sha256=f"{number}", scopes=["*"])
        Session.create(user=self.owner, sha256=f"{number}", expires_at=now() + timedelta(hours=1 + number))
        ServerRuleset.create(server=server, ruleset=1, position=0)
        Label.attach(server, {"a": "b", "number": str(number)})
        self.pool.allocate(server, 1)
        for status in (JobStatus.SUCCEEDED, JobStatus.QUEUED):
            about = server if status is JobStatus.QUEUED else Server.get_by_id(uuid.UUID(int=1))
            job = Job.create(
                type="server.power", status=status, server=about, server_uuid=about.id, owner_id=self.owner.id, node=node,
                max_attempts=1, requested_by="o", request_id="r",
            )  # fmt: skip
            for step in range(2):
                JobStep.create(job=job, attempt=1, name=f"step {step}", status="ok")
                PveTask.create(job=job, operation="x", upid=f"UPID:{number}:{step}:{status}")
        BackupSchedule.create(
            server=uuid.UUID(int=1), cron="0 3 * * *", timezone="UTC", next_run_at=now(), last_run_at=now()
        )
        Backup.create(
            server=uuid.UUID(int=1), server_uuid=uuid.UUID(int=1), server_name="s0", owner=self.owner, node=node, vmid=1000,
            storage=f"st{number}", status="ready", locked=number == 3, size_bytes=number, taken_at=now(),
        )  # fmt: skip
        Webhook.create(owner=self.owner, target=f"https://{number}.example")
        event = WebhookEvent.create(
            id=uuid.UUID(int=number + 1), type="job.failed", resource_type="job", resource_id=f"j{number}"
        )
        WebhookDelivery.plan(event, [Webhook.get_by_id(1)], now())
        at = now() + timedelta(seconds=number)
        self.snapshots.append(
            SnapshotView(name=f"snap-{number}", description="", with_memory=False, parent=None, created_at=at)
        )
        self.images.append(
            IsoView(name=f"image-{number}.iso", volume=f"x:iso/{number}", size_bytes=number, created_at=at)
        )

    def ask(self, operation: Operation, **query: Any) -> Any:
        """The answer to a list's request by the owner."""
        path: dict[str, Any] = {}
        if "/address-pools/{id:row}" in operation.path:
            path["id"] = self.pool.id
        elif "{id:row}" in operation.path:
            path["id"] = 1
        elif "{" in operation.path:
            assert "/servers/{id:uuid}" in operation.path, "a path that this test does not know"
            path["id"] = uuid.UUID(int=1)
        actor = Actor(
            self.owner.id, self.owner.email, operation.access.role or "client", frozenset({"*"}), "r"
        )
        parsed = operation.query.model_validate({name: str(value) for name, value in query.items()})
        told = self.images if operation.path.endswith("/isos") else self.snapshots
        call = Call(self.context, actor, path, parsed, None, prepared=told)
        answer = operation.handler(call).body
        assert isinstance(answer, BaseModel)
        return answer

    def entries(self, operation: Operation, **query: Any) -> list[Any]:
        """Those of the answer."""
        name = entries_of(operation.answer)
        assert name
        found: list[Any] = getattr(self.ask(operation, **query), name)
        return found


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store with many of everything; first there was one, and each time all lists were read."""
    settings = Settings(state_dir=tmp_path_factory.mktemp("lists"))
    initialize(settings, "admin@example.com", None)
    filled = Store(api.context(settings))
    for count in (1, MANY):
        filled.fill(count)
        for operation in LISTS:
            with statements() as seen:
                entries = filled.entries(operation)
            filled.read.setdefault(operation.path, []).append((len(entries), len(seen)))
    yield filled
    database.close()


@each_list
def test_a_long_list_takes_as_many_queries_as_a_short_one(store: Store, operation: Operation) -> None:
    (short, few), (long, many) = store.read[operation.path]
    assert 1 <= short <= 3
    assert long >= MANY
    assert few == many <= MOST_QUERIES


@each_list
def test_a_list_has_pages(store: Store, operation: Operation) -> None:
    assert issubclass(operation.query, ListQuery)
    whole = [entry.model_dump_json() for entry in store.entries(operation)]
    parts = [store.ask(operation, page=number, per_page=5) for number in (1, 2, len(whole) // 5 + 2)]
    entries = [
        [entry.model_dump_json() for entry in getattr(part, entries_of(operation.answer) or "")]
        for part in parts
    ]
    assert entries == [whole[:5], whole[5:10], []]
    assert [part.meta.pagination.total_entries for part in parts] == [len(whole)] * 3


@each_list
def test_a_list_is_sorted_by_what_its_description_says(store: Store, operation: Operation) -> None:
    described = operation.query.model_json_schema()["properties"]["sort"]["enum"]
    names = [name for name in described if not name.startswith("-")]
    assert described == [*names, *(f"-{name}" for name in names)]
    with pytest.raises(DataValidationError) as refused:
        store.ask(operation, sort="password")
    (problem,) = refused.value.problems
    assert problem.field == "sort"
    assert set(problem.message.removeprefix("must be one of ").split(", ")) == set(names)
    for name in names:
        for sort in (name, f"-{name}"):
            values = [getattr(entry, name, None) for entry in store.entries(operation, sort=sort)]
            known = [_order(value) for value in values if value is not None]
            assert known == sorted(known, reverse=sort != name), sort


def _order(value: Any) -> Any:
    """Addresses in the order of numbers; all else as it is."""
    try:
        return int(ipaddress.ip_address(value)) if isinstance(value, str) else value
    except ValueError:
        return value


@each_list
def test_a_list_is_narrowed_by_each_of_its_filters(store: Store, operation: Operation) -> None:
    filters = operation.query.model_fields.keys() - ListQuery.model_fields.keys()
    expected = FILTERS.get(operation.path, {})
    assert filters == expected.keys()
    for name, (value, count) in expected.items():
        assert len(store.entries(operation, per_page=200, **{name: value})) == count, name


@pytest.mark.parametrize("operation", PAGED, ids=lambda operation: operation.path)
def test_a_list_is_documented(operation: Operation) -> None:
    path = operation.path.replace(":row", "").replace(":uuid", "")
    rows = [
        line.split("|")
        for line in DOCS.splitlines()
        if line.startswith("|") and f"`{path}`" in line.split("|")[1]
    ]
    assert len(rows) == 1, path
    _, _, sorts, filters, _ = rows[0]
    if "as `/admin/jobs`" in sorts:
        (sorts,) = [line.split("|")[2] for line in DOCS.splitlines() if line.startswith("| `/admin/jobs`")]
    schema = operation.query.model_json_schema()["properties"]
    assert re.findall("`([a-z_]+)`", sorts) == [
        name for name in schema["sort"]["enum"] if not name.startswith("-")
    ]
    named = re.findall("`([a-z_]+)`", re.sub(r"\(.*?\)", "", filters))
    assert set(named) == operation.query.model_fields.keys() - ListQuery.model_fields.keys()


def test_the_audit_log_takes_one_query_however_long_it_is(store: Store) -> None:
    (operation,) = [operation for operation in FOUND if operation.answer is AuditList]
    with statements() as seen:
        one = store.ask(operation, limit=1)
    for number in range(30):
        record(Event(f"some.{number}"))
    with statements() as more:
        many = store.ask(operation, limit=30)
    assert (len(one.audit_entries), len(many.audit_entries)) == (1, 30)
    assert len(seen) == len(more) == 1


def test_every_list_has_pages_or_a_cursor() -> None:
    assert len(LISTS) > 10
    assert all(issubclass(operation.query, ListQuery) for operation in PAGED)
