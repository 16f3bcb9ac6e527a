"""What webhooks are told is committed with what it tells of, once for each webhook that wants it."""

import json
import uuid
from typing import Any

import pytest
from pydantic import ValidationError

from jotunheim.data.job import JobError
from jotunheim.data.webhook.event import MAX_BODY
from jotunheim.data.webhook.kinds import EventKind
from jotunheim.data.webhook.requests import ClientWebhookSpec, WebhookSpec
from jotunheim.repositories.peewee.accounts import User
from jotunheim.repositories.peewee.announcements import announce
from jotunheim.repositories.peewee.database import now, transaction
from jotunheim.repositories.peewee.infrastructure import Location, Node
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.repositories.peewee.node_state import NodeState
from jotunheim.repositories.peewee.webhooks import Webhook, WebhookDelivery, WebhookEvent

MOVED = JobError(code="node_unavailable", message="pve1 (10.0.0.5) does not answer.", retryable=True)


@pytest.fixture
def owner() -> User:
    """An owner."""
    user: User = User.create(email="owner@example.com", name="O", role="client")
    return user


def _webhook(owner: User | None, *events: str, enabled: bool = True) -> Webhook:
    webhook: Webhook = Webhook.create(
        owner=owner, target="https://a.example", events=list(events), enabled=enabled
    )
    return webhook


def _told(webhook: Webhook) -> list[dict[str, Any]]:
    rows: Any = WebhookDelivery.select(WebhookDelivery, WebhookEvent).join(WebhookEvent)
    return [json.loads(row.event.body_for(webhook)) for row in rows.where(WebhookDelivery.webhook == webhook)]


def _failed_backup(owner: User, *, check: bool = False) -> Job:
    job: Job = Job.create(
        type="backup.create",
        status="running",
        check_only=check,
        max_attempts=1,
        owner_id=owner.id,
        server_uuid=uuid.uuid4(),
        parameters={"backup_id": str(uuid.uuid4())},
        requested_by="operator@example.com",
        request_id="r",
    )
    with transaction():
        job.mark_failed(MOVED)
    return job


def test_nothing_is_recorded_when_nobody_wants_it(owner: User) -> None:
    _webhook(owner, "job.succeeded")
    _webhook(None, "*", enabled=False)
    _failed_backup(owner)
    assert WebhookEvent.select().count() == 0


def test_an_event_that_is_rolled_back_is_none() -> None:
    _webhook(None, "*")
    with transaction() as undoable:
        announce(EventKind.TEST, owner_id=None, resource=("webhook", 1), data={})
        undoable.rollback()
    assert (WebhookEvent.select().count(), WebhookDelivery.select().count()) == (0, 0)


def test_owners_are_told_of_what_is_theirs_and_without_what_is_the_operators(owner: User) -> None:
    operators, owners = _webhook(None, "*"), _webhook(owner, "backup.failed", "job.failed")
    other = _webhook(User.create(email="other@example.com", name="X", role="client"), "*")
    job = _failed_backup(owner)
    assert [event["type"] for event in _told(operators)] == ["job.failed", "backup.failed"]
    told = _told(operators)[1]["data"]
    assert (told["error"]["message"], told["job"]["requested_by"]) == (MOVED.message, "operator@example.com")
    shown = _told(owners)[1]
    assert shown["id"] == _told(operators)[1]["id"]
    assert shown["data"]["job"]["id"] == str(job.id)
    assert shown["data"]["job"]["finished_at"]
    assert shown["data"]["backup_id"] == job.parameters["backup_id"]
    assert shown["data"]["error"] == {
        "code": "node_unavailable", "message": "The hypervisor does not answer.", "retryable": True, "hint": None,
    }  # fmt: skip
    assert "pve1" not in json.dumps(_told(owners))
    assert "operator@" not in json.dumps(_told(owners))
    assert _told(other) == []


def test_a_preview_of_a_backup_that_fails_is_no_failed_backup(owner: User) -> None:
    operators = _webhook(None, "*")
    _failed_backup(owner, check=True)
    assert [(event["type"], event["data"]["job"]["check"]) for event in _told(operators)] == [
        ("job.failed", True)
    ]


def test_owners_who_are_disabled_are_told_nothing(owner: User) -> None:
    owners = _webhook(owner, "*")
    owner.change(disabled_at=now())
    _failed_backup(owner)
    assert _told(owners) == []


def test_a_withdrawn_job_is_told_of() -> None:
    operators = _webhook(None, "job.cancelled")
    job = Job.enqueue(type="server.build", max_attempts=3, requested_by="a", request_id="r")
    with transaction():
        job.withdraw()
    assert [event["data"]["job"]["status"] for event in _told(operators)] == ["cancelled"]


def test_a_node_is_told_of_when_it_goes_and_when_it_comes_back_and_only_then(owner: User) -> None:
    operators, owners = _webhook(None, "*"), _webhook(owner, "*")
    location = Location.create(name="l", short_code="l")
    node = Node.create(
        name="pve1", location=location, host="h", token_id="t", vm_storage="a", backup_storage="b",
        iso_storage="c", bridge="d", port=8006, memory_overcommit=1, disk_overcommit=1, max_concurrent_clones=1,
    )  # fmt: skip
    for answers in (True, True, False, False, False, True):
        state = NodeState.of([node])[node.id]
        with transaction():
            state.record() if answers else state.record_failure("node_unavailable", "It is away.")
    told = [(event["type"], event["data"]["node"]["error"]) for event in _told(operators)]
    away = {"code": "node_unavailable", "message": "It is away."}
    assert all(event["data"]["node"]["status_since"].endswith("Z") for event in _told(operators))
    assert told == [("node.online", None), ("node.offline", away), ("node.online", None)]
    assert _told(owners) == []


@pytest.mark.parametrize("name", ["node.offline", "node.online", "server.drifted"])
def test_owners_cannot_ask_for_what_only_operators_are_told(name: str) -> None:
    asked = {"url": "https://a.example/", "events": [name]}
    assert WebhookSpec.model_validate(asked).events == [name]
    with pytest.raises(ValidationError):
        ClientWebhookSpec.model_validate(asked)


def test_a_body_has_a_bound() -> None:
    operators = _webhook(None, "*")
    announce(EventKind.SERVER_DRIFTED, owner_id=None, resource=("server", "s"), data={"diff": "ü" * MAX_BODY})
    assert [event["data"] for event in _told(operators)] == [
        {"resource": {"type": "server", "id": "s"}, "truncated": True}
    ]
