"""`?plan=JOB`: what a preview has shown is applied exactly, once, and only while it is still so."""

import sqlite3
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from jotunheim.data.job import JobType
from tests.end_to_end.planning import asleep, change_vm, details, noted, pve, world
from tests.end_to_end.test_client_api import command
from tests.end_to_end.test_previews import CHANGES, GIB, differences
from tests.support import plain_http
from tests.support.processes import wait_for
from tests.support.sandbox import Sandbox
from tests.support.service import Service


@dataclass(frozen=True)
class Change:
    """A change of a server, as it is asked for.

    Attributes:
        type: the job that it becomes.
        suspended: the server has to be suspended before.
    """

    type: JobType
    method: str
    path: str
    body: dict[str, Any]
    suspended: bool = False


TYPES = {
    "configure": JobType.CONFIGURE,
    "firewall": JobType.FIREWALL,
    "password": JobType.PASSWORD,
    "power": JobType.POWER,
    "snapshot": JobType.SNAPSHOT_CREATE,
    "rollback": JobType.SNAPSHOT_ROLLBACK,
    "snapshot delete": JobType.SNAPSHOT_DELETE,
    "suspend": JobType.SUSPEND,
    "unsuspend": JobType.UNSUSPEND,
    "rebuild": JobType.REBUILD,
    "delete": JobType.DELETE,
}
IN_TURN = {what: Change(TYPES[what], *CHANGES[what]) for what in CHANGES}
"""Changes that follow each other on one server."""
ON_ITS_OWN = IN_TURN | {
    "configure": Change(
        JobType.CONFIGURE, "PATCH", "", {"cpu": 3, "addresses": {"ipv4": 2}, "disk_bytes": 6 * GIB}
    ),
    "snapshot": Change(JobType.SNAPSHOT_CREATE, "POST", "/snapshots", {"name": "another"}),
    "unsuspend": Change(JobType.UNSUSPEND, "POST", "/unsuspend", {}, suspended=True),
    "rebuild": Change(JobType.REBUILD, "POST", "/rebuild", {"destroy_snapshots": True}),
    "delete": Change(JobType.DELETE, "DELETE", "", {"backups": "delete"}),
    "backup": Change(JobType.BACKUP_CREATE, "POST", "/backups", {"mode": "suspend"}),
    "restore": Change(
        JobType.BACKUP_RESTORE, "POST", "/backups/BACKUP/restore", {"stop": True, "destroy_snapshots": True}
    ),
    "lock a backup": Change(JobType.BACKUP_LOCK, "POST", "/backups/BACKUP/lock", {}),
    "unlock a backup": Change(JobType.BACKUP_UNLOCK, "DELETE", "/backups/BACKUP/lock", {}),
    "delete a backup": Change(JobType.BACKUP_DELETE, "DELETE", "/backups/BACKUP", {}),
}
"""Changes of a running server with the snapshot `taken` and a backup, whose id stands for `BACKUP`."""


def test_every_type_of_job_can_be_planned() -> None:
    elsewhere = {
        JobType.BUILD,
        JobType.IMPORT,
        JobType.ORPHAN_PRUNE,
    }  # in test_planned_creations.py, test_import.py, test_orphans.py
    changes = set(JobType) - {JobType.NODE_SYNC, JobType.NODE_SCAN, JobType.NODE_DRIFT}
    assert {change.type for change in ON_ITS_OWN.values()} | elsewhere == changes


@pytest.fixture(scope="module")
def server(service: Service) -> dict[str, Any]:
    """A running server; the changes follow each other on it."""
    return service.built("planned", addresses={"ipv4": 1}, disk_bytes=5 * GIB)


@pytest.fixture(scope="module")
def still(service: Service, sandbox: Sandbox) -> dict[str, Any]:
    """A running server with a snapshot, on which no plan is carried out."""
    server = service.built("still", addresses={"ipv4": 1}, disk_bytes=5 * GIB)
    service.done(f"servers/{server['id']}/snapshots", {"name": "taken"})
    service.done(f"servers/{server['id']}/backups")
    return {
        **service.server(server["id"]),
        "backup": service.read(f"servers/{server['id']}/backups")["backups"][0]["id"],
    }


def url(server: dict[str, Any], change: Change) -> str:
    """Where a change is asked for."""
    return f"servers/{server['id']}{change.path.replace('BACKUP', server.get('backup', ''))}"


def previewed(service: Service, path: str, body: Any = None, method: str = "POST") -> dict[str, Any]:
    """The job of a preview that succeeded."""
    return service.done(f"{path}?check=true", body, method)


@contextmanager
def fit_for(service: Service, server: dict[str, Any], change: Change) -> Iterator[None]:
    """The server is as the change needs it."""
    if change.suspended:
        service.done(f"servers/{server['id']}/suspend", {"reason": "unpaid"})
    try:
        yield
    finally:
        if change.suspended:
            service.done(f"servers/{server['id']}/unsuspend")


@pytest.mark.parametrize("what", IN_TURN)
def test_a_plan_does_what_its_preview_has_shown_and_only_once(
    service: Service, server: dict[str, Any], what: str
) -> None:
    change = IN_TURN[what]
    preview = previewed(service, url(server, change), change.body, change.method)
    assert preview["plan"] is None
    answer = service.ask(f"{url(server, change)}?plan={preview['id']}", None, change.method)
    assert answer["job"]["plan"] == preview["id"]
    assert answer["job"]["type"] == change.type
    done = service.finished(answer["job"]["id"])
    assert done["status"] == "succeeded", done
    assert (done["check"], done["plan"]) == (False, preview["id"])
    assert differences(done) == differences(preview)
    assert differences(done)
    status, error = service.refused(f"{url(server, change)}?plan={preview['id']}", None, change.method)
    assert (status, error["code"]) == (409, "conflict")
    assert error["details"] == [{"field": "job_id", "message": done["id"]}]


@pytest.mark.parametrize("what", ON_ITS_OWN)
def test_a_plan_is_refused_when_the_vm_has_moved_and_does_nothing_when_it_moves_later(
    service: Service, sandbox: Sandbox, still: dict[str, Any], what: str
) -> None:
    change = ON_ITS_OWN[what]
    with fit_for(service, still, change):
        preview = previewed(service, url(still, change), change.body, change.method)
        planned = f"{url(still, change)}?plan={preview['id']}"
        with noted(sandbox, still["vmid"]):
            status, error = service.refused(planned, None, change.method)
            assert (status, error["code"], details(error)) == (409, "conflict", {"config"})
        recorded = service.server(still["id"])
        with asleep(service):
            job_id = service.ask(planned, None, change.method)["job"]["id"]
            change_vm(sandbox, still["vmid"], config={"tags": "moved"})
            before, since = world(sandbox), sandbox.requests_logged()
        job = service.finished(job_id)
        try:
            assert job["status"] == "failed", job
            assert (job["error"]["code"], job["error"]["retryable"]) == ("plan_outdated", False)
            assert "config" in job["error"]["message"]
            assert "Preview again" in job["error"]["hint"]
            assert world(sandbox) == before
            assert {entry["method"] for entry in sandbox.request_log(since)} == {"GET"}
            unlike = {"updated_at", "job_id"}
            now = service.server(still["id"])
            assert {key for key in now if now[key] != recorded[key]} <= unlike
        finally:
            change_vm(sandbox, still["vmid"], config={"tags": None})


def test_a_plan_takes_no_other_vmid_than_the_one_that_was_shown(
    service: Service, sandbox: Sandbox, server_pair: Any
) -> None:
    one, _ = server_pair
    spec = {"name": "beaten", "template_id": service.ids["template"], "start": False}
    for path, body in (("servers", spec), (f"servers/{one['id']}/rebuild", {})):
        preview = previewed(service, path, body)
        # Somebody else's clone is faster than ours by a moment.
        taken = {"method": "POST", "path": "/clone$", "status": 500}
        message = "unable to create VM 1: config file already exists"
        sandbox.control.post("/faults", json={**taken, "message": message}).raise_for_status()
        made = service.ask(f"{path}?plan={preview['id']}")
        job = service.finished(made["job"]["id"])
        assert (job["status"], job["error"]["code"]) == ("failed", "plan_outdated"), job
        assert service.server(made["server"]["id"])["vmid"] == made["server"]["vmid"]
    assert service.server(one["id"])["status"] == "ready"
    assert service.done(f"servers/{one['id']}/rebuild")["status"] == "succeeded"


@pytest.fixture(scope="module")
def server_pair(service: Service) -> tuple[dict[str, Any], dict[str, Any]]:
    """Two stopped servers without addresses."""
    return service.built("one", start=False), service.built("other", start=False)


def test_what_has_moved_is_named(service: Service, sandbox: Sandbox, still: dict[str, Any]) -> None:
    path, vmid = f"servers/{still['id']}/power", still["vmid"]
    preview = previewed(service, path, {"action": "stop"})

    def named() -> set[str]:
        status, error = service.refused(f"{path}?plan={preview['id']}")
        assert (status, error["code"]) == (409, "conflict")
        return details(error)

    change_vm(sandbox, vmid, status="stopped")
    assert named() == {"power"}
    change_vm(sandbox, vmid, status="running")
    pve(sandbox, "POST", f"/nodes/pve1/qemu/{vmid}/snapshot", snapname="foreign")
    assert named() == {"config", "snapshots"}
    pve(sandbox, "DELETE", f"/nodes/pve1/qemu/{vmid}/snapshot/foreign")
    sandbox.control.patch("/nodes/pve1", json={"online": False}).raise_for_status()
    status, error = service.refused(f"{path}?plan={preview['id']}")
    sandbox.control.patch("/nodes/pve1", json={"online": True}).raise_for_status()
    assert (status, error["code"]) == (503, "node_unavailable")
    service.ask(f"servers/{still['id']}", {"labels": {"env": "other"}}, "PATCH")
    assert named() == {"record"}


def test_what_a_rebuild_and_a_deletion_rest_on_beside_the_vm_counts_too(
    service: Service, sandbox: Sandbox, still: dict[str, Any]
) -> None:
    for change, name, move, back in (
        (
            ON_ITS_OWN["rebuild"],
            "template",
            lambda: change_vm(sandbox, 9000, config={"tags": "moved"}),
            lambda: change_vm(sandbox, 9000, config={"tags": None}),
        ),
        (
            ON_ITS_OWN["delete"],
            "backups",
            lambda: pve(
                sandbox, "POST", "/nodes/pve1/vzdump", vmid=still["vmid"], storage="local", mode="snapshot"
            ),
            lambda: None,
        ),
    ):
        preview = previewed(service, url(still, change), change.body, change.method)
        move()
        status, error = service.refused(f"{url(still, change)}?plan={preview['id']}", None, change.method)
        back()
        assert status == 409
        assert name in details(error)


def test_what_is_no_plan_of_this_request_is_refused(
    service: Service, still: dict[str, Any], server_pair: Any
) -> None:
    one, other = server_pair
    path = f"servers/{one['id']}/power"
    preview = previewed(service, path, {"action": "start"})
    plan = f"plan={preview['id']}"
    no_preview = service.done(f"servers/{other['id']}", {"cpu": 1}, "PATCH")
    for refused, body, method in (
        (f"servers/{other['id']}/power?{plan}", {}, "POST"),  # another server
        (f"servers/{one['id']}/password?{plan}", {}, "POST"),  # another type
        (f"servers?{plan}", {}, "POST"),
        (f"{path}?{plan}", {"action": "stop"}, "POST"),  # another body
        (f"{path}?{plan}", {"action": "start", "force": True}, "POST"),
        (f"{path}?plan={no_preview['id']}", {}, "POST"),  # no preview
    ):
        status, error = service.refused(refused, body, method)
        assert (status, error["code"]) == (409, "conflict"), refused
    for refused, body, problems in (
        (f"{path}?{plan}&check=true", {}, {"plan"}),
        (f"{path}?plan=1", {}, {"plan"}),
        (f"{path}?{plan}", {"action": "explode"}, {"action"}),
        (f"{path}?{plan}", {"password": "a password"}, {"password"}),
    ):
        status, error = service.refused(refused, body)
        assert (status, details(error)) == (422, problems), refused
    deep = service.http.post(
        f"/admin/{path}?{plan}", content="[" * 50_000, headers={"Content-Type": "application/json"}
    )
    assert deep.status_code == 422
    assert service.refused(f"{path}?plan={uuid.uuid4()}")[0] == 404


def test_a_failed_preview_and_an_old_one_are_no_plans(
    service: Service, sandbox: Sandbox, server_pair: Any
) -> None:
    _, other = server_pair
    path = f"servers/{other['id']}/power"
    sandbox.control.post(
        "/faults", json={"path": f"/qemu/{other['vmid']}/config$", "status": 403, "message": "no"}
    )
    failed = service.finished(service.ask(f"{path}?check=true", {"action": "start"})["job"]["id"])
    assert failed["status"] == "failed"
    assert service.refused(f"{path}?plan={failed['id']}")[0] == 409
    preview = previewed(service, path, {"action": "start"})
    with sqlite3.connect(service.state / "jotunheim.db", timeout=10) as raw:
        day = 24 * 3600 * 1_000_000
        raw.execute(
            "UPDATE job SET finished_at = finished_at - ? WHERE id = ?", (day, uuid.UUID(preview["id"]).hex)
        )
    status, error = service.refused(f"{path}?plan={preview['id']}")
    assert (status, error["code"]) == (409, "conflict")
    assert "24 hours" in error["message"]


def test_of_many_callers_at_once_one_applies_a_plan(service: Service, sandbox: Sandbox) -> None:
    spec = {"name": "wanted", "template_id": service.ids["template"], "start": False}
    preview = service.finished(service.ask("servers?check=true", spec)["job"]["id"])

    def apply(number: int) -> httpx.Response:
        headers = {"Idempotency-Key": f"crowd-{number % 2}"}
        return service.http.post(f"/admin/servers?plan={preview['id']}", json={}, headers=headers)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(apply, range(8)))
    made = {answer.json()["server"]["id"] for answer in answers if answer.status_code == 202}
    assert len(made) == 1
    assert {answer.status_code for answer in answers} == {202, 409}
    [accepted] = {index % 2 for index, answer in enumerate(answers) if answer.status_code == 202}
    # Whoever asks under the same key gets the same answer, also now that the plan is used up and the VM is there.
    assert [answer.status_code for answer in answers[accepted::2]] == [202] * 4
    [first] = {answer.json()["job"]["id"] for answer in answers[accepted::2]}
    assert service.finished(first)["status"] == "succeeded"
    again = apply(accepted)
    assert (again.status_code, again.headers["idempotency-replayed"]) == (202, "true")
    assert apply(1 - accepted).status_code == 409


def test_a_password_is_given_again_or_renewed(service: Service, server_pair: Any) -> None:
    one, _ = server_pair
    path = f"servers/{one['id']}/password"
    preview = previewed(service, path, {"password": "a secret of mine"})
    assert "a secret of mine" not in (service.state / "jotunheim.db").read_bytes().decode("latin-1")
    answer = service.ask(f"{path}?plan={preview['id']}", {"password": "a secret of mine"})
    assert answer["root_password"] is None
    assert service.finished(answer["job"]["id"])["status"] == "succeeded"
    preview = previewed(service, path, {"password": "a secret of mine"})
    answer = service.ask(f"{path}?plan={preview['id']}")
    assert answer["root_password"]
    assert service.finished(answer["job"]["id"])["status"] == "succeeded"


@pytest.fixture
def owner(service: Service) -> Iterator[tuple[int, httpx.Client]]:
    """A user who is no administrator: id, and a client with their token."""
    email = "planner@example.com"
    user = command(service, "user", "create", "--email", email, "--name", "P", "--role", "client")
    scopes = ("--scope", "servers:read", "--scope", "servers:write")
    token = command(service, "token", "create", "--user", email, "--name", "t", *scopes)
    headers = {"Authorization": f"Bearer {token['secret']}"}
    with plain_http.Client(base_url=service.http.base_url, headers=headers, timeout=30) as http:
        yield user["user"]["id"], http


def test_owners_apply_plans_on_their_own_servers_and_nobody_elses(
    service: Service, sandbox: Sandbox, still: dict[str, Any], owner: tuple[int, httpx.Client]
) -> None:
    owner_id, http = owner
    mine = service.built("mine-planned", owner_id=owner_id)
    foreign = previewed(service, f"servers/{still['id']}/power", {"action": "reboot"})
    for server in (mine, still):
        answer = http.post(f"/client/servers/{server['id']}/power?plan={foreign['id']}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
    creation = service.ask("servers?check=true", {"name": "x", "template_id": service.ids["template"]})
    assert http.post(f"/client/servers/{mine['id']}/power?plan={creation['job']['id']}").status_code == 404
    path = f"/client/servers/{mine['id']}/power"
    preview = service.finished(http.post(f"{path}?check=true", json={"action": "stop"}).json()["job"]["id"])
    sandbox.control.patch("/nodes/pve1", json={"online": False}).raise_for_status()
    answer = http.post(f"{path}?plan={preview['id']}")
    sandbox.control.patch("/nodes/pve1", json={"online": True}).raise_for_status()
    assert answer.status_code == 503
    assert answer.json()["error"]["message"] == "The hypervisor does not answer."
    with asleep(service):
        answer = http.post(f"{path}?plan={preview['id']}")
        assert answer.status_code == 202
        assert answer.json()["job"]["plan"] == preview["id"]
        change_vm(sandbox, mine["vmid"], status="stopped")
    service.finished(answer.json()["job"]["id"])
    error = http.get(f"/client/jobs/{answer.json()['job']['id']}").json()["job"]["error"]
    assert error["code"] == "plan_outdated"
    assert "pve1" not in str(error)
    # What the operator has previewed on the owner's server, its owner may apply, where they may ask for the same.
    wide = previewed(service, f"servers/{mine['id']}", {"cpu": 3}, "PATCH")
    answer = http.put(f"/client/servers/{mine['id']}/ssh-keys?plan={wide['id']}")
    assert (answer.status_code, details(answer.json()["error"])) == (409, {"cpu"})


def test_what_moves_when_the_run_has_begun_is_noticed_before_its_first_change(
    service: Service, sandbox: Sandbox, still: dict[str, Any]
) -> None:
    path = f"servers/{still['id']}/power"
    preview = previewed(service, path, {"action": "stop"})
    with asleep(service):
        job_id = service.ask(f"{path}?plan={preview['id']}")["job"]["id"]
        # The run compares, which reads the status; then its task reads it again, and that is slow.
        fault = {"path": f"/qemu/{still['vmid']}/status/current$", "skip": 1, "delay": 10}
        fault_id = sandbox.control.post("/faults", json=fault).json()["id"]
    wait_for(lambda: _has_struck(sandbox, fault_id), "the fault", seconds=60)
    with noted(sandbox, still["vmid"]):
        job = service.finished(job_id)
    sandbox.control.delete("/faults")
    assert (job["status"], job["error"]["code"]) == ("failed", "plan_outdated"), job
    assert sandbox.control.get(f"/vms/{still['vmid']}").json()["status"] == "running"


def test_a_plan_to_change_nothing_is_held_to_its_preview_too(
    service: Service, sandbox: Sandbox, still: dict[str, Any]
) -> None:
    path = f"servers/{still['id']}/power"
    preview = previewed(service, path, {"action": "start"})
    assert differences(preview) == []
    with asleep(service):
        job_id = service.ask(f"{path}?plan={preview['id']}")["job"]["id"]
        change_vm(sandbox, still["vmid"], config={"tags": "moved"})
    job = service.finished(job_id)
    change_vm(sandbox, still["vmid"], config={"tags": None})
    assert (job["status"], job["error"]["code"]) == ("failed", "plan_outdated"), job


def _has_struck(sandbox: Sandbox, fault_id: int) -> bool:
    """Whether a fault has met its request."""
    faults = sandbox.control.get("/faults").json()
    return any(fault["id"] == fault_id and fault["struck"] for fault in faults)


def test_a_continued_job_does_not_refuse_its_own_work(fresh_service: Service, sandbox: Sandbox) -> None:
    service = fresh_service
    service.add_infrastructure(sandbox)
    worker = service.start_worker(JOTUNHEIM_VMID_FIRST="7000")
    server = service.built("continued")
    path = f"servers/{server['id']}/power"
    preview = previewed(service, path, {"action": "stop"})
    fault = {"method": "POST", "path": "/status/stop$", "when": "after", "silent": True}
    fault_id = sandbox.control.post("/faults", json=fault).json()["id"]
    job_id = service.ask(f"{path}?plan={preview['id']}")["job"]["id"]
    wait_for(lambda: _has_struck(sandbox, fault_id), "the fault", seconds=60)
    service.kill_worker(worker)
    sandbox.control.delete("/faults")
    service.start_worker()
    job = service.finished(job_id)
    assert (job["status"], job["attempt"]) == ("succeeded", 2), job
    assert service.server(server["id"])["power"] == "stopped"
