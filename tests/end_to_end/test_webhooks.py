"""Webhooks: what happens is told to real HTTPS receivers, signed, again when it fails, and to nobody else."""

import json
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Run, remote
from tests.cli.conftest import run as run  # a fixture
from tests.support import databases, people
from tests.support.processes import wait_for
from tests.support.receiver import (
    Received,
    Receiver,
    answering,
    dripping,
    endless,
    holding,
    one_after_the_other,
)
from tests.support.sandbox import Sandbox
from tests.support.service import Service

DOCUMENTATION = Path(__file__).parents[2] / "docs" / "webhooks.md"
LOOPBACK = {"JOTUNHEIM_WEBHOOK_NETWORKS": "127.0.0.0/8", "JOTUNHEIM_WEBHOOK_OWNER_NETWORKS": "127.0.0.0/8"}


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    """A receiver on loopback."""
    with Receiver.start(tmp_path_factory.mktemp("receiver")) as started:
        yield started


def _settings(receiver: Receiver, **more: str) -> dict[str, str]:
    quick = {"JOTUNHEIM_WEBHOOK_TIMEOUT_SECONDS": "1.5", "JOTUNHEIM_WEBHOOK_RETRY_BASE_SECONDS": "0.2"}
    return {**LOOPBACK, "JOTUNHEIM_WEBHOOK_CA_FILE": str(receiver.ca_file), **quick, **more}


@pytest.fixture(scope="module")
def service(
    receiver: Receiver, sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """A service that may call receivers on loopback."""
    with Service.start(tmp_path_factory.mktemp("webhooks"), settings=_settings(receiver)) as started:
        started.add_infrastructure(sandbox)
        yield started


def added(service: Service, url: str, *events: str, **spec: Any) -> dict[str, Any]:
    """A new webhook with its secret."""
    made = service.create("webhooks", {"url": url, "events": list(events), **spec})
    return {**made["webhook"], "secret": made["secret"]}


def quiet(service: Service, url: str, **spec: Any) -> dict[str, Any]:
    """A new webhook that is told of nothing that other tests do."""
    return added(service, url, "quota.reset", **spec)


def delivery(service: Service, webhook: dict[str, Any], id_: int) -> dict[str, Any]:
    """A delivery with its log."""
    found: dict[str, Any] = service.read(f"webhooks/{webhook['id']}/deliveries/{id_}")["delivery"]
    return found


def tried(service: Service, webhook: dict[str, Any]) -> int:
    """Send the event of a test; returns the delivery's id."""
    id_: int = service.ask(f"webhooks/{webhook['id']}/test")["delivery"]["id"]
    return id_


def over(service: Service, webhook: dict[str, Any], id_: int, **wait: float) -> dict[str, Any]:
    """A delivery, as soon as it is no longer pending."""

    def ended() -> dict[str, Any] | None:
        found = delivery(service, webhook, id_)
        return found if found["status"] != "pending" else None

    return wait_for(ended, f"delivery {id_}", **wait)


def failing(service: Service, webhook: dict[str, Any], id_: int) -> dict[str, Any]:
    """A delivery, as soon as an attempt has failed."""

    def failed() -> dict[str, Any] | None:
        found = delivery(service, webhook, id_)
        return found if found["error"] else None

    return wait_for(failed, f"a failure of delivery {id_}")


def documented_check() -> Any:
    """The function with which the documentation lets receivers check signatures."""
    [source] = re.findall(r"```python\n(.*?)```", DOCUMENTATION.read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(source, names)
    return names["verify"]


def is_genuine(received: Received, secret: str) -> bool:
    """Whether a receiver takes a request for ours, with the documentation's code."""
    try:
        document = documented_check()(secret, received.headers, received.body)
    except ValueError:
        return False
    assert document == received.event
    return True


def test_the_end_of_a_job_is_told_to_operators_and_to_its_owner(service: Service, receiver: Receiver) -> None:
    owner = people.user(service)
    person = people.person(service, owner["email"])
    operators = added(service, receiver.url("/operators"), "*")
    asked = {"url": receiver.url("/owner"), "events": ["job.succeeded", "job.cancelled"]}
    answer = person.post("/client/webhooks", json=asked)
    assert answer.status_code == 201, answer.text
    secret = answer.json()["secret"]
    others = added(service, receiver.url("/others"), "node.offline")
    server = service.built("webhooks-1", owner_id=owner["id"])
    job_id = service.ask(f"servers/{server['id']}/power", {"action": "stop"})["job"]["id"]
    service.finished(job_id)

    told = [one for one in receiver.wait("/operators", 2) if one.event["type"].startswith("job.")]
    by_type = {one.event["data"]["job"]["type"]: one for one in told}
    assert by_type.keys() >= {"server.build", "server.power"}
    power = by_type["server.power"]
    assert is_genuine(power, operators["secret"])
    assert power.headers["webhook-id"] == power.event["id"]
    assert power.headers["content-type"] == "application/json"
    job = power.event["data"]["job"]
    assert (job["id"], job["status"], job["requested_by"]) == (job_id, "succeeded", "admin@example.com")

    shown = {one.event["data"]["job"]["type"]: one for one in receiver.wait("/owner", 2)}
    assert is_genuine(shown["server.power"], secret)
    assert not is_genuine(shown["server.power"], operators["secret"])
    assert shown["server.power"].headers["webhook-id"] == power.headers["webhook-id"]
    assert shown["server.power"].event["data"]["job"]["resources"] == [{"type": "server", "id": server["id"]}]
    for one in shown.values():
        assert not {"requested_by", "request_id"} & one.event["data"]["job"].keys()
        assert "pve1" not in one.body.decode()
    assert service.read(f"webhooks/{others['id']}/deliveries")["deliveries"] == []
    assert receiver.got["/others"] == []
    stranger = people.person(service, people.user(service)["email"])
    assert stranger.get(f"/client/webhooks/{answer.json()['webhook']['id']}").status_code == 404
    assert stranger.get("/client/webhooks").json()["webhooks"] == []


def test_what_a_receiver_refuses_is_sent_again_and_the_same(service: Service, receiver: Receiver) -> None:
    receiver.behaviours["/again"] = one_after_the_other(
        answering(503, Retry_After="1"), answering(302, Location=receiver.url("/elsewhere")), answering(200)
    )
    webhook = quiet(service, receiver.url("/again"))
    ended = over(service, webhook, tried(service, webhook))
    got = receiver.got["/again"]
    assert len(got) == 3
    assert len({one.body for one in got}) == len({one.headers["webhook-id"] for one in got}) == 1
    assert all(is_genuine(one, webhook["secret"]) for one in got)
    assert got[0].body.decode() == ended["body"]
    assert [(one["status_code"], one["error"]) for one in ended["log"]] == [
        (503, "status"),
        (302, "status"),
        (200, None),
    ]
    at = [datetime.fromisoformat(one["at"]).timestamp() for one in ended["log"]]
    assert 1 <= at[1] - at[0] < 5
    assert (ended["status"], ended["attempts"], ended["event_id"]) == (
        "succeeded",
        3,
        got[0].headers["webhook-id"],
    )
    assert receiver.got["/elsewhere"] == []
    assert service.read(f"webhooks/{webhook['id']}")["webhook"]["failing_since"] is None


def test_slow_and_dead_receivers_hold_nobody_up(service: Service, receiver: Receiver) -> None:
    receiver.behaviours["/drip"] = dripping
    receiver.behaviours["/endless"] = endless
    slow, dead, live = (quiet(service, receiver.url(path)) for path in ("/drip", "/dead", "/live"))
    service.ask(f"webhooks/{dead['id']}", {"url": "https://127.0.0.1:9999/"}, "PATCH")
    ids = [tried(service, webhook) for webhook in (slow, dead) for _ in range(10)]
    began = time.monotonic()
    for _ in range(10):
        tried(service, live)
    receiver.wait("/live", 10)
    assert time.monotonic() - began < 5
    first = failing(service, slow, ids[0])
    assert first["log"][0]["error"] == "timeout"
    assert 1400 <= first["log"][0]["duration_ms"] < 3000
    refused = failing(service, dead, ids[10])
    assert refused["log"][0]["error"] == "unreachable"
    service.ask(f"webhooks/{slow['id']}", {"enabled": False}, "PATCH")
    given_up = service.read(f"webhooks/{slow['id']}/deliveries?status=failed")["deliveries"]
    assert {one["id"] for one in given_up} == set(ids[:10])
    service.ask(f"webhooks/{dead['id']}", method="DELETE")
    endless_one = quiet(service, receiver.url("/endless"))
    assert over(service, endless_one, tried(service, endless_one))["status"] == "succeeded"


def test_certificates_are_verified(service: Service, receiver: Receiver) -> None:
    with Receiver.start(receiver.ca_file.parent, "127.0.0.2") as other:
        webhook = quiet(service, other.url("/never", host="127.0.0.2"))
        found = failing(service, webhook, tried(service, webhook))
    assert (found["log"][0]["error"], other.got["/never"]) == ("tls", [])
    assert "127.0.0.2" in found["log"][0]["detail"]
    service.ask(f"webhooks/{webhook['id']}", method="DELETE")


def test_a_receiver_that_is_gone_ends_its_webhook(service: Service, receiver: Receiver) -> None:
    receiver.behaviours["/gone"] = answering(410)
    webhook = quiet(service, receiver.url("/gone"))
    ended = over(service, webhook, tried(service, webhook))
    assert (ended["status"], ended["attempts"]) == ("failed", 1)
    found = service.read(f"webhooks/{webhook['id']}")["webhook"]
    assert (found["enabled"], found["disabled_reason"]) == (False, "gone")
    [entry] = service.read(f"audit?action=webhook.disable&resource_id={webhook['id']}")["audit_entries"]
    assert (entry["source"], entry["message"]) == ("worker", "The receiver answered 410.")
    assert service.refused(f"webhooks/{webhook['id']}/test")[0] == 409
    receiver.behaviours["/gone"] = answering(204)
    again = service.ask(f"webhooks/{webhook['id']}", {"enabled": True}, "PATCH")["webhook"]
    assert (again["enabled"], again["disabled_reason"], again["failing_since"]) == (True, None, None)
    service.ask(f"webhooks/{webhook['id']}/deliveries/{ended['id']}/replay")
    assert over(service, webhook, ended["id"])["status"] == "succeeded"
    assert len({one.headers["webhook-id"] for one in receiver.got["/gone"]}) == 1


def test_receivers_can_change_over_to_another_secret(service: Service, receiver: Receiver) -> None:
    webhook = quiet(service, receiver.url("/rotated"))
    path = f"webhooks/{webhook['id']}"
    made = service.ask(f"{path}/rotate-secret", {"overlap_seconds": 600})
    assert made["webhook"]["old_secret_until"]
    over(service, webhook, tried(service, webhook))
    own = "whsec_" + "QUJD" * 10
    assert service.ask(f"{path}/rotate-secret", {"secret": own, "overlap_seconds": 0})["secret"] == own
    over(service, webhook, tried(service, webhook))
    both, last = receiver.got["/rotated"]
    assert [is_genuine(both, secret) for secret in (webhook["secret"], made["secret"], own)] == [
        True,
        True,
        False,
    ]
    assert [is_genuine(last, secret) for secret in (webhook["secret"], made["secret"], own)] == [
        False,
        False,
        True,
    ]
    assert not is_genuine(Received(last.headers, last.body + b" "), own)
    old = {**last.headers, "webhook-timestamp": str(int(time.time()) - 3600)}
    assert not is_genuine(Received(old, last.body), own)


def test_all_that_failed_can_be_replayed(service: Service, receiver: Receiver) -> None:
    since = datetime.now(UTC).isoformat()
    receiver.behaviours["/replayed"] = one_after_the_other(answering(410), answering(204))
    webhook = quiet(service, receiver.url("/replayed"))
    failed = over(service, webhook, tried(service, webhook))
    service.ask(f"webhooks/{webhook['id']}", {"enabled": True}, "PATCH")
    good = over(service, webhook, tried(service, webhook))
    assert service.ask(f"webhooks/{webhook['id']}/replay", {"since": since}) == {"replayed": 1}
    assert over(service, webhook, failed["id"])["status"] == "succeeded"
    later = datetime.now(UTC).isoformat()
    assert service.ask(f"webhooks/{webhook['id']}/replay", {"since": later}) == {"replayed": 0}
    service.ask(f"webhooks/{webhook['id']}/deliveries/{good['id']}/replay")
    receiver.wait("/replayed", 4)


def test_an_owners_webhooks_end_with_their_account(service: Service, receiver: Receiver) -> None:
    owner = people.user(service)
    person = people.person(service, owner["email"])
    made = person.post(
        "/client/webhooks", json={"url": receiver.url("/leaving"), "events": ["job.failed"]}
    ).json()
    id_ = made["webhook"]["id"]
    service.ask(f"users/{owner['id']}", {"disabled": True}, "PATCH")
    service.ask(f"webhooks/{id_}/test")
    time.sleep(1.5)
    assert receiver.got["/leaving"] == []
    service.ask(f"users/{owner['id']}", method="DELETE")
    assert service.refused(f"webhooks/{id_}", method="GET")[0] == 404
    assert people.rows(service, f"SELECT name FROM secret WHERE name LIKE 'webhook/{id_}/%'") == []


def test_neither_secret_nor_url_is_anywhere_but_in_the_answers_that_show_them(
    service: Service, receiver: Receiver
) -> None:
    canary = "canary-0fdd4c1b"
    receiver.behaviours[f"/{canary}"] = answering(500)
    secret = "whsec_" + "Y2FuYXJ5" * 5
    webhook = quiet(service, receiver.url(f"/{canary}"), secret=secret)
    service.ask(f"webhooks/{webhook['id']}", {"url": receiver.url(f"/{canary}?x=1")}, "PATCH")
    service.ask(f"webhooks/{webhook['id']}/rotate-secret", {"secret": secret})
    tried(service, webhook)
    receiver.wait(f"/{canary}?x=1")
    token = service.create("roles", {"name": "watchers", "permissions": ["webhooks:read"]})["role"]["name"]
    watcher = people.person(service, people.user(service, role=token)["email"])
    listed = watcher.get("/admin/webhooks").json()["webhooks"]
    assert {one["url"] for one in listed} == {None}
    assert f"https://localhost:{receiver.port}" in {one["target"] for one in listed}
    assert watcher.post(f"/admin/webhooks/{webhook['id']}/test").status_code == 403
    service.ask(f"webhooks/{webhook['id']}", method="DELETE")
    for file in [path for path in service.state.rglob("*") if path.is_file()]:
        content = file.read_bytes()
        assert canary.encode() not in content, file
        assert secret.encode() not in content, file


@pytest.mark.parametrize("killed", [True, False], ids=["killed", "asked to go"])
def test_a_worker_that_ends_in_the_middle_loses_nothing(
    receiver: Receiver, tmp_path: Path, killed: bool
) -> None:
    path, go_on = f"/held-{killed}", threading.Event()
    receiver.behaviours[path] = one_after_the_other(holding(go_on), answering(204))
    settings = _settings(receiver, JOTUNHEIM_LEASE_SECONDS="1", JOTUNHEIM_WEBHOOK_TIMEOUT_SECONDS="2")
    with Service.start(tmp_path / "state", settings=settings) as service:
        webhook = quiet(service, receiver.url(path))
        id_ = tried(service, webhook)
        receiver.wait(path)
        if killed:
            service.kill_worker(service.workers[0])
        else:
            os.kill(service.workers[0].pid, signal.SIGTERM)
        service.start_worker()
        ended = over(service, webhook, id_)
        go_on.set()
        assert [one["error"] for one in ended["log"]] == ["interrupted" if killed else "timeout", None]
        got = receiver.got[path]
        assert len(got) == 2
        assert len({one.headers["webhook-id"] for one in got}) == 1
        assert json.loads(got[0].body)["type"] == "webhook.test"


def test_two_workers_on_postgresql_send_each_event_once(
    receiver: Receiver, sandbox: Sandbox, tmp_path: Path
) -> None:
    with databases.postgresql() as database:
        settings = _settings(
            receiver, JOTUNHEIM_DATABASE_URL=database.url, JOTUNHEIM_WEBHOOK_TIMEOUT_SECONDS="10"
        )
        with Service.start(tmp_path / "state", settings=settings) as service:
            service.start_worker()
            webhooks = [quiet(service, receiver.url(f"/pg-{number}")) for number in range(4)]
            with ThreadPoolExecutor(8) as pool:
                ids = list(pool.map(lambda number: tried(service, webhooks[number % 4]), range(80)))
                passing = [pool.submit(_made_and_removed, service, receiver) for _ in range(8)]
            assert all(future.result() for future in passing)
            for number, id_ in enumerate(ids):
                assert over(service, webhooks[number % 4], id_)["attempts"] == 1
            for number in range(4):
                got = receiver.got[f"/pg-{number}"]
                assert len(got) == len({one.headers["webhook-id"] for one in got}) == 20
            added(service, receiver.url("/pg-jobs"), "*")
            service.add_infrastructure(sandbox)
            service.done(f"nodes/{service.ids['node']}/sync")
            told = [one.event["type"] for one in receiver.wait("/pg-jobs", 2)]
            assert sorted(told) == ["job.succeeded", "node.online"]
            receiver.behaviours["/pg-0"] = answering(410)
            gone = over(service, webhooks[0], tried(service, webhooks[0]))
            assert (
                gone["status"],
                service.read("webhooks?enabled=false")["webhooks"][0]["disabled_reason"],
            ) == (
                "failed",
                "gone",
            )


def _made_and_removed(service: Service, receiver: Receiver) -> bool:
    """A webhook that is removed while it is called."""
    webhook = quiet(service, receiver.url("/pg-passing"))
    tried(service, webhook)
    return bool(service.ask(f"webhooks/{webhook['id']}", method="DELETE"))


def test_the_command_line_knows_webhooks(service: Service, receiver: Receiver, run: Run) -> None:
    def asked(*arguments: str) -> dict[str, Any]:
        ran = run("webhook", *arguments, "--json", **remote(service))
        assert ran.status == 0, ran.err
        return ran.document

    made = asked("add", receiver.url("/cli"), "--event", "quota.reset", "--description", "by hand")
    id_ = str(made["webhook"]["id"])
    assert made["webhook"]["id"] in [one["id"] for one in asked("list")["webhooks"]]
    assert asked("show", id_)["webhook"]["url"] == receiver.url("/cli")
    changed = asked("change", id_, "--event", "quota.warned", "--event", "quota.reset")["webhook"]
    assert changed["events"] == ["quota.warned", "quota.reset"]
    assert asked("rotate", id_, "--overlap", "2h")["secret"] != made["secret"]
    told = asked("test", id_)["delivery"]["id"]
    over(service, made["webhook"], told)
    [listed] = asked("deliveries", id_, "--status", "succeeded", "--since", "1h")["deliveries"]
    assert listed["id"] == told
    shown = asked("delivery", id_, str(told))["delivery"]
    assert json.loads(shown["body"])["type"] == "webhook.test"
    assert asked("replay", id_, str(told))["delivery"]["id"] == told
    receiver.wait("/cli", 2)
    assert asked("replay", id_, "--failed-since", "1h") == {"replayed": 0}
    for arguments in (["list"], ["show", id_], ["deliveries", id_], ["delivery", id_, str(told)]):
        assert run("webhook", *arguments, **remote(service)).status == 0
    refused = run("webhook", "change", id_, "--url", "https://10.0.0.1/", **remote(service))
    assert (refused.status, "--url" in refused.err) == (1, True), refused.err
    own = "whsec_" + "b3du" * 8
    taken = run("webhook", "rotate", id_, "--secret-stdin", "--json", stdin=own, **remote(service))
    assert taken.document["secret"] == own
    assert run("webhook", "replay", id_, **remote(service)).status == 2
    assert asked("remove", id_)["webhook"]["description"] == "by hand"
