"""Backups: made, found on their storage, locked, restored and removed."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.cli.conftest import Run, remote
from tests.cli.conftest import run as run  # a fixture
from tests.end_to_end.test_client_api import command
from tests.support import plain_http
from tests.support.processes import wait_for
from tests.support.sandbox import Sandbox
from tests.support.service import Service

GIB = 2**30


@pytest.fixture(scope="module")
def owner(service: Service) -> Iterator[tuple[int, httpx.Client]]:
    """A user who is no administrator: id, and a client with their token."""
    email = "owner@backups.example.com"
    user = command(service, "user", "create", "--email", email, "--name", "O", "--role", "client")
    scopes = ("--scope", "servers:read", "--scope", "servers:write")
    token = command(service, "token", "create", "--user", email, "--name", "t", *scopes)
    with plain_http.Client(
        base_url=service.http.base_url, headers={"Authorization": f"Bearer {token['secret']}"}, timeout=30
    ) as http:
        yield user["user"]["id"], http


def made(service: Service, server: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """A backup that was asked for and is ready."""
    asked = service.ask(f"servers/{server['id']}/backups", spec)
    job = service.finished(asked["job"]["id"])
    assert job["status"] == "succeeded", job
    backup: dict[str, Any] = service.read(f"servers/{server['id']}/backups/{asked['backup']['id']}")["backup"]
    return backup


def listed(sandbox: Sandbox, server: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The backups that the node has under a server's VMID, by volume."""
    found = sandbox.get("/nodes/pve1/storage/local/content", content="backup", vmid=server["vmid"])
    return {entry["volid"]: entry for entry in found}


def test_a_backup_is_made_found_and_removed(service: Service, sandbox: Sandbox) -> None:
    server = service.built("backed-up")
    asked = service.ask(f"servers/{server['id']}/backups", {"mode": "stop", "notes": "before the {{ node }}"})
    assert asked["backup"]["status"] == "creating"
    assert asked["backup"]["job_id"] == asked["job"]["id"] == asked["server"]["job_id"]
    assert asked["job"]["type"] == "backup.create"
    job = service.finished(asked["job"]["id"])
    assert job["status"] == "succeeded", job

    backup = service.read(f"servers/{server['id']}/backups/{asked['backup']['id']}")["backup"]
    assert (backup["status"], backup["mode"], backup["locked"]) == ("ready", "stop", False)
    [(volume, entry)] = listed(sandbox, server).items()
    assert (backup["volume"], backup["size_bytes"]) == (volume, entry["size"])
    assert job["result"] == {"volume": volume, "size_bytes": entry["size"]}
    assert entry["notes"] == f"jotunheim:backup={backup['id']}"  # the first line, as lists show them
    whole = sandbox.get(f"/nodes/pve1/storage/local/content/{volume}")["notes"]
    assert whole == f"jotunheim:backup={backup['id']}\nbefore the {{{{ node }}}}"
    assert service.read(f"servers/{server['id']}/backups")["backups"] == [backup]
    assert any(":vzdump:" in upid for upid in job["upids"])

    service.done(f"servers/{server['id']}/backups/{backup['id']}", method="DELETE")
    assert listed(sandbox, server) == {}
    assert service.refused(f"servers/{server['id']}/backups/{backup['id']}", method="DELETE")[0] == 404


def test_a_locked_backup_stays_on_the_node_too(service: Service, sandbox: Sandbox) -> None:
    server = service.built("locked-backup")
    backup = made(service, server)
    path = f"servers/{server['id']}/backups/{backup['id']}"
    service.done(f"{path}/lock")
    assert service.read(path)["backup"]["locked"] is True
    assert listed(sandbox, server)[backup["volume"]]["protected"] == 1
    status, error = service.refused(path, method="DELETE")
    assert (status, error["code"]) == (409, "protected")

    # Whoever locks it on the node means it as well.
    service.done(f"{path}/lock", method="DELETE")
    assert "protected" not in listed(sandbox, server)[backup["volume"]]
    sandbox.do("PUT", f"/nodes/pve1/storage/local/content/{backup['volume']}", protected=1)
    failed = service.finished(service.ask(path, method="DELETE")["job"]["id"])
    assert (failed["status"], failed["error"]["code"]) == ("failed", "backup_protected")
    assert service.read(path)["backup"]["status"] == "ready"


def test_a_backup_that_the_token_may_not_see_is_not_taken_for_gone(
    service: Service, sandbox: Sandbox
) -> None:
    server = service.built("unseen-backup", start=False)
    backup = made(service, server)
    path = f"servers/{server['id']}/backups/{backup['id']}"
    with sandbox.without("VM.Backup"):
        for method, action in (("DELETE", ""), ("POST", "/lock")):
            job = service.finished(service.ask(f"{path}{action}", method=method)["job"]["id"])
            assert (job["status"], job["error"]["code"]) == ("failed", "node_permission"), job
            assert "VM.Backup" in job["error"]["message"]
    assert service.read(path)["backup"]["status"] == "ready"
    service.done(path, method="DELETE")
    assert listed(sandbox, server) == {}


def test_a_server_goes_back_to_a_backup(service: Service, sandbox: Sandbox) -> None:
    server = service.built("restored", addresses={"ipv4": 1}, cpu=1)
    vmid, id_ = server["vmid"], server["id"]
    backup = made(service, server)
    before = sandbox.config(vmid)
    changes = {"cpu": 2, "description": "changed", "addresses": {"ipv4": 2}, "restart": "if_needed"}
    service.done(f"servers/{id_}", changes, "PATCH")
    service.done(f"servers/{id_}/snapshots", {"name": "between"})

    status, error = service.refused(f"servers/{id_}/backups/{backup['id']}/restore")
    assert (status, error["code"]) == (409, "conflict")
    assert "runs" in error["message"]
    asked = service.ask(f"servers/{id_}/backups/{backup['id']}/restore", {"stop": True})
    job = service.finished(asked["job"]["id"])
    assert (job["status"], job["error"]["code"]) == ("failed", "snapshots_exist")
    assert "is what it was" in job["error"]["message"]
    assert service.server(id_)["status"] == "ready"

    wanted = {"stop": True, "destroy_snapshots": True}
    job = service.done(f"servers/{id_}/backups/{backup['id']}/restore", wanted)
    assert job["result"] == {"snapshots_destroyed": ["between"]}
    shown = service.server(id_)
    assert (shown["status"], shown["power"], shown["cpu"]) == ("ready", "running", 2)
    after = sandbox.config(vmid)
    assert after["smbios1"] == before["smbios1"] == f"uuid={id_}"
    assert after["description"] == f"jotunheim:server={id_}\njotunheim:restored={job['id']}\nchanged"
    assert after["net0"].split(",")[0] == before["net0"].split(",")[0]
    assert (after["cores"], after["ipconfig0"]) == (2, before["ipconfig0"])
    assert sorted(sandbox.firewall(vmid)["addresses"]) == sorted(a["address"] for a in shown["addresses"])
    assert [entry["name"] for entry in sandbox.get(f"/nodes/pve1/qemu/{vmid}/snapshot")] == ["current"]

    # A server whose VM is no more comes back, too.
    sandbox.do("POST", f"/nodes/pve1/qemu/{vmid}/status/stop")
    wait_for(
        lambda: sandbox.get(f"/nodes/pve1/qemu/{vmid}/status/current")["status"] == "stopped", "the stop"
    )
    sandbox.do("DELETE", f"/nodes/pve1/qemu/{vmid}")
    wait_for(lambda: vmid not in sandbox.vmids(), "the VM's end")
    service.done(f"servers/{id_}/backups/{backup['id']}/restore", wanted)
    assert sandbox.config(vmid)["smbios1"] == f"uuid={id_}"
    assert service.server(id_)["status"] == "ready"


def test_a_restore_that_fails_half_way_says_so_and_is_repeated(service: Service, sandbox: Sandbox) -> None:
    server = service.built("half-restored")
    backup = made(service, server)
    fault = {"method": "POST", "path": "/qemu$", "task_fails": "no space left on device", "count": 1}
    sandbox.control.post("/faults", json=fault).raise_for_status()
    path = f"servers/{server['id']}/backups/{backup['id']}/restore"
    job = service.finished(service.ask(path, {"stop": True})["job"]["id"])
    assert (job["status"], job["error"]["code"]) == ("failed", "task_failed")
    assert "no space left" in job["error"]["message"]
    assert "may not be whole" in job["error"]["message"]
    assert service.server(server["id"])["status"] == "restore_failed"
    status, error = service.refused(f"servers/{server['id']}/power", {"action": "start"})
    assert (status, error["code"]) == (409, "conflict")

    again = service.finished(service.ask(f"jobs/{job['id']}/retry")["job"]["id"])
    assert again["status"] == "succeeded", again
    shown = service.server(server["id"])
    assert (shown["status"], shown["power"]) == ("ready", "running")


@pytest.mark.parametrize(
    "refusal",
    [
        {"status": 500, "message": "unable to restore VM - VM is locked (migrate)"},
        {"status": 403, "message": "Permission check failed (/storage/vmstore, Datastore.AllocateSpace)"},
    ],
    ids=["500", "403"],
)
def test_a_restore_that_the_node_refuses_leaves_the_server_as_it_was(
    service: Service, sandbox: Sandbox, refusal: dict[str, Any]
) -> None:
    server = service.built(f"refused-{refusal['status']}")
    backup = made(service, server)
    before = sandbox.config(server["vmid"])
    fault = {"method": "POST", "path": "/qemu$", "count": 1, **refusal}
    sandbox.control.post("/faults", json=fault).raise_for_status()
    path = f"servers/{server['id']}/backups/{backup['id']}/restore"
    job = service.finished(service.ask(path, {"stop": True})["job"]["id"])
    assert job["status"] == "failed"
    assert "is what it was" in job["error"]["message"]
    shown = service.server(server["id"])
    assert (shown["status"], shown["power"]) == ("ready", "running")
    assert sandbox.get(f"/nodes/pve1/qemu/{server['vmid']}/status/current")["status"] == "running"
    assert sandbox.config(server["vmid"]) == before


def test_what_a_broken_restore_leaves_is_restored_or_deleted(service: Service, sandbox: Sandbox) -> None:
    """A full storage: Proxmox VE has taken disks and configuration away by then, our mark with it."""
    restored, deleted = service.built("broken-1"), service.built("broken-2")
    for server in (restored, deleted):
        backup = made(service, server)
        sandbox.control.patch("/storages/vmstore", json={"other_used": 2**50}).raise_for_status()
        try:
            path = f"servers/{server['id']}/backups/{backup['id']}/restore"
            job = service.finished(service.ask(path, {"stop": True})["job"]["id"])
        finally:
            sandbox.control.patch("/storages/vmstore", json={"other_used": 0}).raise_for_status()
        assert (job["status"], job["error"]["code"]) == ("failed", "task_failed")
        assert "description" not in sandbox.config(server["vmid"])
        assert service.server(server["id"])["status"] == "restore_failed"

    another = service.done(f"servers/{restored['id']}/backups/{made_ids(service, restored)[0]}/restore")
    assert another["result"] == {"snapshots_destroyed": []}
    assert sandbox.config(restored["vmid"])["smbios1"] == f"uuid={restored['id']}"
    shown = service.server(restored["id"])
    assert (shown["status"], shown["power"]) == ("ready", "running")
    service.done(f"servers/{deleted['id']}", method="DELETE")
    assert deleted["vmid"] not in sandbox.vmids()


def made_ids(service: Service, server: dict[str, Any]) -> list[str]:
    """Ids of a server's backups."""
    return [backup["id"] for backup in service.read(f"servers/{server['id']}/backups")["backups"]]


def test_a_backup_of_another_server_is_not_restored(service: Service, sandbox: Sandbox) -> None:
    mine, other = service.built("backed-up-1"), service.built("backed-up-2")
    backup = made(service, other)
    for path in ("", "/restore", "/lock"):
        method = "DELETE" if path == "" else "POST"
        assert service.refused(f"servers/{mine['id']}/backups/{backup['id']}{path}", method=method)[0] == 404
    assert service.http.get(f"/admin/servers/{mine['id']}/backups/{backup['id']}").status_code == 404


def test_a_backup_that_is_being_made_is_cancelled(service: Service, sandbox: Sandbox) -> None:
    server = service.built("cancelled-backup")
    sandbox.control.patch("/settings", json={"durations": {"backup": 600.0}}).raise_for_status()
    try:
        asked = service.ask(f"servers/{server['id']}/backups")
        wait_for(
            lambda: any(t["type"] == "vzdump" and "endtime" not in t for t in tasks(sandbox, server)),
            "vzdump",
        )
        service.ask(f"jobs/{asked['job']['id']}/cancel")
        assert service.finished(asked["job"]["id"])["status"] == "cancelled"
    finally:
        sandbox.control.patch("/settings", json={"durations": {"backup": 1.0}}).raise_for_status()
    assert (made_ids(service, server), listed(sandbox, server)) == ([], {})
    assert "lock" not in sandbox.config(server["vmid"])
    # One that nobody has begun is forgotten at once; a restore that has begun goes to its end.
    backup = made(service, server)
    sandbox.control.patch("/settings", json={"durations": {"restore": 60.0}}).raise_for_status()
    try:
        path = f"servers/{server['id']}/backups/{backup['id']}/restore"
        asked = service.ask(path, {"stop": True})
        wait_for(
            lambda: any(t["type"] == "qmrestore" and "endtime" not in t for t in tasks(sandbox, server)),
            "the restore",
        )
        service.ask(f"jobs/{asked['job']['id']}/cancel")
        job = service.finished(asked["job"]["id"])
    finally:
        sandbox.control.patch("/settings", json={"durations": {"restore": 0.6}}).raise_for_status()
    assert job["status"] == "succeeded", job
    assert service.server(server["id"])["status"] == "ready"


def tasks(sandbox: Sandbox, server: dict[str, Any]) -> list[dict[str, Any]]:
    """The node's tasks about a server."""
    found: list[dict[str, Any]] = sandbox.get("/nodes/pve1/tasks", vmid=server["vmid"], source="all")
    return found


def test_who_has_backups_is_not_forgotten(service: Service, sandbox: Sandbox) -> None:
    email = "kept@backups.example.com"
    user = command(service, "user", "create", "--email", email, "--name", "K", "--role", "client")["user"]
    server = service.built("leaves-a-backup", owner_id=user["id"])
    backup = made(service, server)
    service.done(f"servers/{server['id']}", method="DELETE")
    status, error = service.refused(f"users/{user['id']}", method="DELETE")
    assert (status, error["details"]) == (409, [{"field": "backups", "message": backup["id"]}])
    assert "backups" in str(service.refused(f"nodes/{service.ids['node']}", method="DELETE")[1]["details"])
    service.done(f"backups/{backup['id']}", method="DELETE")
    assert service.http.delete(f"/admin/users/{user['id']}").is_success


def test_a_backup_server_holds_backups_too(tmp_path: Any) -> None:
    (tmp_path / "sandbox").mkdir()
    with (
        Sandbox.start(tmp_path / "sandbox", time_scale=0.05, pbs=["store"]) as sandbox,
        Service.start(tmp_path / "state") as service,
    ):
        service.add_infrastructure(sandbox, backup_storage="store")
        server = service.built("on-pbs")
        path = f"servers/{server['id']}/backups"
        backup = made(service, server, notes="the first", compress="gzip")
        assert backup["volume"].startswith(f"store:backup/vm/{server['vmid']}/20")
        [entry] = sandbox.get("/nodes/pve1/storage/store/content", content="backup")
        assert (entry["volid"], entry["notes"]) == (backup["volume"], f"jotunheim:backup={backup['id']}")
        service.done(f"{path}/{backup['id']}/lock")
        service.done(f"{path}/{backup['id']}/lock", method="DELETE")
        service.done(f"{path}/{backup['id']}/restore", {"stop": True})
        assert service.server(server["id"])["power"] == "running"
        service.done(f"{path}/{backup['id']}", method="DELETE")
        assert sandbox.get("/nodes/pve1/storage/store/content", content="backup") == []


def test_backups_are_asked_for_on_the_command_line(service: Service, sandbox: Sandbox, run: Run) -> None:
    server = service.built("by-command")
    ask = remote(service)
    ran = run(
        "backup", "create", "by-command", "--notes", "n", "--mode", "suspend", "--wait", "--json", **ask
    )
    assert ran.status == 0, ran.err
    backup = ran.document["backup"]["id"]
    shown = run("backup", "list", "by-command", **ask)
    assert backup in shown.out
    for arguments in (
        ["lock", "by-command", backup[:8]],
        ["unlock", "by-command", "latest"],
        ["restore", "by-command", "latest", "--stop"],
        ["restore", "by-command", "latest", "--as-new", "by-command-2", "--check"],
    ):
        ran = run("backup", *arguments, "--wait", **ask)
        assert ran.status == 0, ran.err
    missing = run("backup", "delete", "by-command", "ffff", **ask)
    assert (missing.status, "There is no backup ffff" in missing.err) == (1, True)
    service.done(f"servers/{server['id']}", method="DELETE")
    assert "by-command" in run("backup", "kept", "list", **ask).out
    again = (
        "backup",
        "kept",
        "restore",
        backup,
        "--as-new",
        "by-command-2",
        "--ipv4",
        "1",
        "--wait",
        "--json",
    )
    ran = run(*again, **ask)
    assert ran.status == 0, ran.err
    assert (ran.document["server"]["status"], len(ran.document["server"]["addresses"])) == ("ready", 1)
    assert run("backup", "kept", "delete", backup, "--wait", **ask).status == 0
    assert listed(sandbox, server) == {}


def test_limits_hold_for_backups(service: Service, owner: tuple[int, httpx.Client]) -> None:
    owner_id, http = owner
    server = service.built("limited", owner_id=owner_id, limits={"backups": 1})
    path = f"/client/servers/{server['id']}/backups"
    asked = http.post(path, json={"notes": "mine"})
    assert asked.status_code == 202, asked.text
    assert asked.json()["backup"].keys().isdisjoint({"volume", "storage", "node", "vmid", "owner_id"})
    assert service.finished(asked.json()["job"]["id"])["status"] == "succeeded"
    refused = http.post(path, json={})
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "resource_limit_exceeded")
    assert http.post(path, json={"storage": "local"}).status_code == 422
    [backup] = http.get(path).json()["backups"]
    assert (backup["status"], backup["notes"]) == ("ready", "mine")
    job = http.get(f"/client/jobs/{asked.json()['job']['id']}").json()["job"]
    assert job["result"] is None  # a volume of the operator's storage


def test_an_owner_may_ask_for_so_many_an_hour(sandbox: Sandbox, tmp_path: Any) -> None:
    settings = {"JOTUNHEIM_BACKUP_RATE_LIMIT": "1/hour"}
    with Service.start(tmp_path / "state", settings=settings) as service:
        service.add_infrastructure(sandbox)
        token = command(
            service, "token", "create", "--user", _client(service), "--name", "t", "--scope", "servers:write"
        )["secret"]
        user = next(u for u in service.read("users")["users"] if u["role"] == "client")
        server = service.built("rated", owner_id=user["id"])
        path = f"{service.http.base_url}client/servers/{server['id']}/backups"
        headers = {"Authorization": f"Bearer {token}"}
        first = plain_http.post(path, json={}, headers=headers)
        assert service.finished(first.json()["job"]["id"])["status"] == "succeeded"
        second = plain_http.post(path, json={}, headers=headers)
        assert (second.status_code, second.json()["error"]["code"]) == (429, "rate_limit_exceeded")
        assert 3000 < int(second.headers["Retry-After"]) <= 3600
        made(service, server)  # an operator is not held to it


def _client(service: Service) -> str:
    email = "rated@example.com"
    command(service, "user", "create", "--email", email, "--name", "R", "--role", "client")
    return email


def test_backups_never_hold_up_the_end_of_their_server(service: Service, sandbox: Sandbox) -> None:
    server = service.built("gone-with-backups", limits={"backups": None})
    kept, gone, removed = made(service, server), made(service, server), made(service, server)
    service.done(f"servers/{server['id']}/backups/{kept['id']}/lock")
    sandbox.do("DELETE", f"/nodes/pve1/storage/local/content/{gone['volume']}")
    wait_for(lambda: gone["volume"] not in listed(sandbox, server), "the end of a backup")

    job = service.done(f"servers/{server['id']}", {"backups": "delete"}, "DELETE")
    assert job["result"] == {"backups_deleted": [removed["volume"]], "backups_kept": [kept["volume"]]}
    [left] = service.read(f"backups?server_id={server['id']}")["backups"]
    assert (left["id"], left["server_id"], left["server_name"]) == (kept["id"], None, "gone-with-backups")

    # What was kept is still to be had, and goes when it is told to.
    assert service.refused(f"backups/{kept['id']}", method="DELETE")[1]["code"] == "protected"
    service.done(f"backups/{kept['id']}/lock", method="DELETE")
    service.done(f"backups/{kept['id']}", method="DELETE")
    assert listed(sandbox, server) == {}
    assert service.refused(f"backups/{kept['id']}", method="DELETE")[0] == 404


def test_a_storage_that_the_node_lacks_is_refused(service: Service) -> None:
    server = service.built("somewhere-else")
    for storage in ("nope", "vmstore"):  # the second one is not for backups
        status, error = service.refused(f"servers/{server['id']}/backups", {"storage": storage})
        assert (status, error["details"][0]["field"]) == (422, "storage")
        assert "it has: local" in error["details"][0]["message"]
    schedule = {"cron": "0 3 * * *", "storage": "nope"}
    assert service.refused(f"servers/{server['id']}/backup-schedules", schedule)[0] == 422
    assert made(service, server, storage="local")["storage"] == "local"


def test_a_failed_backup_is_shown_until_one_succeeds(service: Service, sandbox: Sandbox) -> None:
    server = service.built("failed-backup")
    fault = {"method": "POST", "path": "/vzdump$", "task_fails": "job errors", "count": 1}
    sandbox.control.post("/faults", json=fault).raise_for_status()
    asked = service.ask(f"servers/{server['id']}/backups")
    job = service.finished(asked["job"]["id"])
    assert (job["status"], job["error"]["code"]) == ("failed", "task_failed")
    [failed] = service.read(f"servers/{server['id']}/backups")["backups"]
    assert (failed["id"], failed["status"], failed["volume"]) == (asked["backup"]["id"], "failed", None)
    good = made(service, server)
    assert [b["id"] for b in service.read(f"servers/{server['id']}/backups")["backups"]] == [good["id"]]


def test_a_preview_makes_no_backup(service: Service, sandbox: Sandbox) -> None:
    server = service.built("previewed-backup")
    asked = service.ask(f"servers/{server['id']}/backups?check=true", {"mode": "suspend"})
    assert asked["backup"] is None
    job = service.finished(asked["job"]["id"])
    assert job["status"] == "succeeded", job
    assert service.read(f"servers/{server['id']}/backups")["backups"] == []
    assert listed(sandbox, server) == {}
    applied = service.ask(f"servers/{server['id']}/backups?plan={job['id']}")
    assert service.finished(applied["job"]["id"])["status"] == "succeeded"
    assert applied["backup"]["mode"] == "suspend"
    backup = f"servers/{server['id']}/backups/{applied['backup']['id']}"
    preview = service.done(f"{backup}/restore?check=true", {"stop": True})
    assert preview["check"]
    assert service.server(server["id"])["status"] == "ready"
    assert service.done(f"{backup}?check=true", method="DELETE")["check"]
    assert len(listed(sandbox, server)) == 1
