"""The owners' API: their own servers. That nothing is anybody else's is in `tests/routes/test_tenancy.py`."""

import json
import os
import subprocess
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support import plain_http
from tests.support.processes import JOTUNHEIM
from tests.support.service import Service

NOT_FOR_OWNERS = {"vmid", "node", "owner_id", "external_id", "network", "upids", "requested_by", "request_id"}


def command(service: Service, *arguments: str) -> dict[str, Any]:
    """What a local command answers."""
    done = subprocess.run(
        [JOTUNHEIM, *arguments, "--json"],
        env={**os.environ, **service.environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.fixture(scope="module")
def owner(service: Service) -> Iterator[tuple[int, httpx.Client]]:
    """A user who is no administrator: id, and a client with their token."""
    user = command(
        service, "user", "create", "--email", "owner@example.com", "--name", "O", "--role", "client"
    )
    token = command(
        service, "token", "create", "--user", "owner@example.com", "--name", "t",
        "--scope", "servers:read", "--scope", "servers:write",
    )  # fmt: skip
    with plain_http.Client(
        base_url=service.http.base_url, headers={"Authorization": f"Bearer {token['secret']}"}, timeout=30
    ) as http:
        yield user["user"]["id"], http


@pytest.fixture(scope="module")
def mine(service: Service, owner: tuple[int, httpx.Client]) -> dict[str, Any]:
    """The owner's server."""
    return service.built("mine", owner_id=owner[0], external_id="internal-7")


def done(service: Service, answer: httpx.Response) -> dict[str, Any]:
    """The job of an accepted request, as the owner sees it at its end."""
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"/api/v1/client/jobs/{answer.json()['job']['id']}"
    service.finished(answer.json()["job"]["id"])
    job: dict[str, Any] = plain_http.get(
        str(service.http.base_url).rstrip("/") + f"/client/jobs/{answer.json()['job']['id']}",
        headers={"Authorization": answer.request.headers["authorization"]},
    ).json()["job"]
    assert job["status"] == "succeeded", job
    return job


def keys(part: Any) -> set[str]:
    """All keys of a document."""
    if isinstance(part, dict):
        return set(part).union(*(keys(value) for value in part.values()))
    return set().union(*(keys(item) for item in part)) if isinstance(part, list) else set()


def test_owners_see_their_own_servers_only(
    service: Service, owner: tuple[int, httpx.Client], mine: dict[str, Any]
) -> None:
    service.built("not-mine", start=False)
    _, http = owner
    listed = http.get("/client/servers").json()["servers"]
    assert [server["id"] for server in listed] == [mine["id"]]
    assert not keys(listed) & NOT_FOR_OWNERS
    assert http.get(f"/client/servers/{mine['id']}").json()["server"] == listed[0]


def test_owners_find_their_own_jobs_by_the_request_that_asked_for_them(
    service: Service, owner: tuple[int, httpx.Client], mine: dict[str, Any]
) -> None:
    _, http = owner
    for number, (client, path) in enumerate(
        ((http, f"/client/servers/{mine['id']}/power"), (service.http, "/admin/servers"))
    ):
        spec = {"name": "not-mine-either", "template_id": service.ids["template"], "start": False}
        body = {"action": "start"} if number == 0 else spec
        answer = client.post(path, json=body, headers={"X-Request-ID": f"owner-{number}"})
        service.finished(answer.json()["job"]["id"])
    [job] = http.get("/client/jobs?request_id=owner-0").json()["jobs"]
    assert job["resources"] == [{"type": "server", "id": mine["id"]}]
    assert not keys(job) & NOT_FOR_OWNERS
    assert http.get("/client/jobs?request_id=owner-1").json()["jobs"] == []
    assert http.get(f"/client/jobs/{job['id']}/bundle").status_code == 404
    assert http.get(f"/admin/jobs/{job['id']}/bundle").status_code == 403


def test_owners_act_on_their_own_servers(
    service: Service, owner: tuple[int, httpx.Client], mine: dict[str, Any]
) -> None:
    _, http = owner
    path = f"/client/servers/{mine['id']}"
    job = done(service, http.post(f"{path}/power", json={"action": "stop"}))
    assert not keys(job) & NOT_FOR_OWNERS
    assert http.get(path).json()["server"]["power"] == "stopped"
    events = http.get(f"/client/jobs/{job['id']}/events").json()["events"]
    assert {event["type"].split(".")[0] for event in events} == {"job", "step"}
    assert "diff" not in keys(events)
    with http.stream(
        "GET", f"/client/jobs/{job['id']}/events", headers={"Accept": "text/event-stream"}
    ) as stream:
        assert "UPID" not in stream.read().decode()
    done(service, http.post(f"{path}/snapshots", json={"name": "mine"}))
    assert [entry["name"] for entry in http.get(f"{path}/snapshots").json()["snapshots"]] == ["mine"]
    done(service, http.delete(f"{path}/snapshots/mine"))
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJx0wqEEMq7wLr8XbJ3WYmHyZ8aQ9sYqv3nXhGm0Q4pB"
    done(service, http.put(f"{path}/ssh-keys", json={"ssh_keys": [key]}))
    assert http.get(f"{path}/ssh-keys").json() == {"ssh_keys": [key]}
    answer = http.post(f"{path}/password", json={})
    assert answer.json()["root_password"]
    done(service, answer)
    assert http.get(f"{path}/jobs").json()["meta"]["pagination"]["total_entries"] >= 5


def test_owners_rebuild_from_what_they_are_offered(
    service: Service, owner: tuple[int, httpx.Client], mine: dict[str, Any]
) -> None:
    _, http = owner
    path, template = f"/client/servers/{mine['id']}", service.ids["template"]

    def offered() -> list[int]:
        shown = http.get(f"{path}/templates").json()["templates"]
        assert not keys(shown) & NOT_FOR_OWNERS | {"node_id"} & keys(shown)
        return [entry["id"] for entry in shown]

    assert offered() == [template]
    group = service.create("template-groups", {"name": "offered"})["template_group"]["id"]
    for change in ({"hidden": True}, {"hidden": False, "group_id": group}):
        service.ask(f"templates/{template}", change, "PATCH")
    assert offered() == [template]
    service.ask(f"template-groups/{group}", {"hidden": True}, "PATCH")
    assert offered() == []
    for id_ in (template, 999):
        answer = http.post(f"{path}/rebuild?check=true", json={"template_id": id_})
        assert (answer.status_code, answer.json()["error"]["details"]) == (
            422,
            [{"field": "template_id", "message": f"there is no template {id_}"}],
        )
    done(service, http.post(f"{path}/rebuild?check=true", json={}))  # the same again
    service.ask(f"templates/{template}", {"group_id": None}, "PATCH")
    done(service, http.post(f"{path}/rebuild?check=true", json={"template_id": template}))


def test_a_suspended_server_shows_why_and_cannot_be_started_by_its_owner(
    service: Service, owner: tuple[int, httpx.Client], mine: dict[str, Any]
) -> None:
    _, http = owner
    service.done(f"servers/{mine['id']}/suspend", {"reason": "unpaid"})
    path = f"/client/servers/{mine['id']}"
    assert http.get(path).json()["server"]["suspended"]["reason"] == "unpaid"
    answer = http.post(f"{path}/power", json={"action": "start"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "conflict")
    service.done(f"servers/{mine['id']}/unsuspend")


def test_an_error_tells_the_owner_nothing_of_nodes(
    service: Service, owner: tuple[int, httpx.Client], mine: dict[str, Any], sandbox: Any
) -> None:
    _, http = owner
    fault = {
        "method": "POST",
        "path": "/status/start$",
        "status": 500,
        "message": "bridge on pve1",
        "count": 1,
    }
    sandbox.control.post("/faults", json=fault).raise_for_status()
    service.done(f"servers/{mine['id']}/power", {"action": "stop"})
    job = http.post(f"/client/servers/{mine['id']}/power", json={"action": "start"}).json()["job"]
    assert service.finished(job["id"])["status"] == "failed"
    shown = http.get(f"/client/jobs/{job['id']}").json()["job"]
    assert shown["error"]["code"]
    events = http.get(f"/client/jobs/{job['id']}/events").text
    assert "pve1" not in json.dumps(shown) + events
