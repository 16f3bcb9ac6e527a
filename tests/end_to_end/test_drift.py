"""Drift: what is changed behind our back is found, told, and brought back or taken over; nothing is ever changed by a look."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Run, remote
from tests.cli.conftest import run as run  # a fixture
from tests.end_to_end.planning import details, pve, world
from tests.support.databases import postgresql
from tests.support.processes import wait_for
from tests.support.sandbox import Sandbox
from tests.support.service import Service

GIB = 1024**3
HOSTILE = "{{ lookup('pipe', 'touch /tmp/jotunheim-pwned') }}"


@pytest.fixture(scope="module")
def service(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service of this module's own."""
    with Service.start(tmp_path_factory.mktemp("drift")) as started:
        started.add_infrastructure(sandbox)
        yield started


def drift_of(service: Service, server: dict[str, Any]) -> dict[str, Any]:
    """What is known of a server's drift."""
    found: dict[str, Any] = service.read(f"servers/{server['id']}/drift")["drift"]
    return found


def looked_at(service: Service, server: dict[str, Any]) -> dict[str, Any]:
    """A server's drift, found just now."""
    service.done(f"servers/{server['id']}/drift/check")
    return drift_of(service, server)


def settings_of(drift: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What was found and what is recorded, by setting."""
    return {entry["setting"]: (entry["found"], entry["recorded"]) for entry in drift["differences"]}


def change(sandbox: Sandbox, server: dict[str, Any], **config: Any) -> None:
    """Change a VM's configuration behind our back."""
    pve(sandbox, "PUT", f"/nodes/pve1/qemu/{server['vmid']}/config", **config)


def test_a_server_as_it_was_built_has_not_drifted(service: Service, sandbox: Sandbox) -> None:
    plain = service.built("drift-plain", tags=["web"])
    never = drift_of(service, plain)
    assert (never["status"], never["checked_at"]) == ("unknown", None)
    service.done(f"servers/{plain['id']}", {"description": HOSTILE}, "PATCH")
    before = world(sandbox)
    drift = looked_at(service, plain)
    assert (drift["status"], drift["differences"], drift["error"]) == ("in_sync", [], None)
    assert world(sandbox) == before
    job = service.done(f"nodes/{service.ids['node']}/drift")
    assert job["type"] == "node.drift"
    assert job["result"]["in_sync"] == len(service.read("servers")["servers"])
    assert service.server(plain["id"])["job_id"] is None


@contextmanager
def struck(sandbox: Sandbox, server: dict[str, Any], **fault: Any) -> Iterator[None]:
    """The node answers questions about a VM's configuration so, until the end."""
    wanted = {"method": "GET", "path": f"/qemu/{server['vmid']}/config$", "count": None, **fault}
    sandbox.control.post("/faults", json=wanted).raise_for_status()
    try:
        yield
    finally:
        sandbox.control.delete("/faults").raise_for_status()


def until_in_sync(service: Service, server: dict[str, Any]) -> None:
    """Wait until a server was brought back, and looked at again, without anybody asking."""
    wait_for(
        lambda: (
            drift_of(service, server)["status"] == "in_sync" and not service.server(server["id"])["job_id"]
        ),
        "a sweep to put it right",
        seconds=40,
        pause=0.2,
    )


def test_everything_that_was_changed_is_found_and_reconciled(service: Service, sandbox: Sandbox) -> None:
    server = service.built("drift-all", tags=["web"], start=False)
    mac = sandbox.config(server["vmid"])["net0"].split(",")[0].partition("=")[2]
    change(
        sandbox,
        server,
        cores=3,
        memory=512,
        tags="x;web",
        onboot=0,
        description=f"jotunheim:server={server['id']}\n{HOSTILE}",
        ipconfig0="ip=10.9.9.9/24",
        ciuser="eve",
        net0=f"virtio={mac},bridge=vmbr0,firewall=1,rate=5",
    )
    drift = looked_at(service, server)
    found = settings_of(drift)
    assert found["cores"] == (3, server["cpu"])
    assert found["memory_bytes"] == (512 * 1024**2, server["memory_bytes"])
    assert found["tags"] == (["web", "x"], ["web"])
    assert found["description"] == (HOSTILE, "")
    assert found["ciuser"] == ("eve", "debian")
    assert found["ipconfig0.ip"][0] == "10.9.9.9/24"
    assert found["onboot"] == (False, True)
    assert found["net0.rate"] == ("5", None)
    fields = {entry["field"] for entry in drift["differences"]}
    assert fields == {
        "cpu",
        "memory_bytes",
        "tags",
        "description",
        "cloud_init",
        "addresses",
        "onboot",
        "network",
    }
    (diff,) = drift["diff"]
    assert (diff["before"]["cores"], diff["after"]["cores"]) == (3, server["cpu"])
    job = service.finished(service.ask(f"servers/{server['id']}/drift/reconcile?check=true")["job"]["id"])
    assert any(step["diff"] for step in job["steps"])
    assert drift_of(service, server)["status"] == "drifted"
    service.done(f"servers/{server['id']}/drift/reconcile")
    until_in_sync(service, server)  # it is looked at again by itself
    assert drift_of(service, server)["found_at"] is None


def test_firewall_and_mark_are_put_right_by_themselves(service: Service, sandbox: Sandbox) -> None:
    server = service.built("drift-mark")
    base = f"/nodes/pve1/qemu/{server['vmid']}"
    before = sandbox.config(server["vmid"])["description"], sandbox.firewall(server["vmid"])
    change(sandbox, server, description="Mine now", cores=3)
    pve(sandbox, "PUT", f"{base}/firewall/options", enable=0)
    assert {"mark", "firewall.enable", "cores"} <= settings_of(looked_at(service, server)).keys()
    wait_for(lambda: sandbox.firewall(server["vmid"]) == before[1], "the firewall", seconds=40, pause=0.2)
    wait_for(
        lambda: set(settings_of(drift_of(service, server))) == {"cores", "description"}, "a look", seconds=40
    )
    # The notes below the mark and the processors are nobody's danger: they wait for somebody to decide.
    config = sandbox.config(server["vmid"])
    assert (config["description"], config["cores"]) == (f"{before[0]}\nMine now", 3)
    drift = drift_of(service, server)
    assert drift["reasserted_at"] is not None
    [entry] = service.read(f"audit?action=server.drift.reassert&resource_id={server['id']}")["audit_entries"]
    assert (entry["source"], entry["actor_email"]) == ("worker", "drift sweep")
    # What cannot be put right is not tried again at once.
    pve(sandbox, "PUT", f"{base}/firewall/options", enable=0)
    with struck(sandbox, server, method="PUT", path=f"{base}/firewall/options$", status=403):
        looked_at(service, server)
        path = f"jobs?server_id={server['id']}&type=server.firewall"
        wait_for(lambda: service.read(path)["jobs"][0]["status"] == "failed", "the job to fail", seconds=40)
        wait_for(
            lambda: drift_of(service, server)["checked_at"] > service.read(path)["jobs"][0]["finished_at"],
            "another look",
            seconds=40,
        )
        assert "firewall.enable" in settings_of(looked_at(service, server))
        assert len(service.read(path)["jobs"]) == 2


def test_a_suspended_server_that_may_start_again_is_put_right(service: Service, sandbox: Sandbox) -> None:
    server = service.built("drift-suspended")
    service.done(f"servers/{server['id']}/suspend", {"reason": "unpaid"})
    assert looked_at(service, server)["status"] == "in_sync"
    change(sandbox, server, onboot=1)
    pve(sandbox, "POST", f"/nodes/pve1/qemu/{server['vmid']}/status/start")
    service.done(f"servers/{server['id']}/drift/check")
    wait_for(
        lambda: (
            sandbox.get(f"/nodes/pve1/qemu/{server['vmid']}/status/current")["status"] == "stopped"
            and int(sandbox.config(server["vmid"])["onboot"]) == 0
        ),
        "the server to be stopped",
        seconds=40,
        pause=0.2,
    )


def test_a_copy_that_runs_in_the_place_of_a_suspended_server_is_not_stopped(
    service: Service, sandbox: Sandbox
) -> None:
    server = service.built("drift-suspended-copy")
    service.done(f"servers/{server['id']}/suspend", {"reason": "unpaid"})
    change(sandbox, server, smbios1="uuid=9e60e40f-a6f6-4eca-b680-8f3b1f089266")
    pve(sandbox, "POST", f"/nodes/pve1/qemu/{server['vmid']}/status/start")

    def asked() -> list[dict[str, Any]]:
        jobs: list[dict[str, Any]] = service.read(f"jobs?server_id={server['id']}")["jobs"]
        return [job for job in jobs if job["requested_by"] == "drift sweep"]

    service.done(f"nodes/{service.ids['node']}/sync")
    [job] = wait_for(asked, "the job that would stop it")
    ended = service.finished(job["id"])
    assert (ended["status"], ended["error"]["code"]) == ("failed", "vm_not_ours")
    service.done(f"nodes/{service.ids['node']}/sync")
    assert len(asked()) == 1  # it is left alone for a while
    current = sandbox.get(f"/nodes/pve1/qemu/{server['vmid']}/status/current")
    assert current["status"] == "running"
    change(sandbox, server, smbios1=f"uuid={server['id']}")
    service.done(f"servers/{server['id']}", method="DELETE")


def test_somebody_elses_vm_is_told_of_and_never_touched(service: Service, sandbox: Sandbox) -> None:
    server = service.built("drift-stranger", start=False)
    base = f"/nodes/pve1/qemu/{server['vmid']}"
    copied = sandbox.config(server["vmid"])["description"]
    stranger = "9e60e40f-a6f6-4eca-b680-8f3b1f089265"
    for notes, settings_told in (("By hand", {"owner"}), (copied, {"smbios1.uuid", "firewall.enable"})):
        change(sandbox, server, smbios1=f"uuid={stranger}", description=notes)
        pve(sandbox, "PUT", f"{base}/firewall/options", enable=0)
        before = world(sandbox)
        drift = looked_at(service, server)
        assert set(settings_of(drift)) == settings_told
        assert stranger in drift["differences"][0].values()
        assert (drift["acceptable"] == {}) is (notes == "By hand") or not drift["acceptable"]
        status, error = service.refused(f"servers/{server['id']}/drift/reconcile")
        assert (status, details(error)) == (409, {"owner"})
        status, error = service.refused(f"servers/{server['id']}/drift/accept", {"version": drift["version"]})
        assert status == 409
        assert world(sandbox) == before
        assert sandbox.firewall(server["vmid"])["options"]["enable"] == 0
        assert service.server(server["id"])["job_id"] is None
    pve(sandbox, "DELETE", base)
    drift = looked_at(service, server)
    assert settings_of(drift) == {"exists": (False, True)}
    assert details(service.refused(f"servers/{server['id']}/drift/reconcile")[1]) == {"vm"}


def test_what_was_found_is_taken_over(service: Service, sandbox: Sandbox) -> None:
    server = service.built("drift-accept", start=False)
    path = f"servers/{server['id']}/drift"
    change(sandbox, server, cores=4, memory=768, tags="b;a", onboot=0, name="drift-renamed")
    pve(sandbox, "PUT", f"/nodes/pve1/qemu/{server['vmid']}/resize", disk="scsi0", size="6G")
    drift = looked_at(service, server)
    assert drift["acceptable"] == {
        "name": "drift-renamed",
        "cpu": 4,
        "memory_bytes": 768 * 1024**2,
        "disk_bytes": 6 * GIB,
        "tags": ["a", "b"],
    }
    status, error = service.refused(f"{path}/accept", {"version": drift["version"]})
    assert (status, details(error)) == (409, {"onboot"})
    assert "reconcile" in error["details"][0]["message"]
    wrong = {"version": drift["version"], "fields": ["cpu", "agent"]}
    status, error = service.refused(f"{path}/accept", wrong)
    assert (status, details(error)) == (422, {"fields.1"})
    assert service.refused(f"{path}/accept", {"version": "0"})[0] == 412
    assert service.refused(f"{path}/accept", {"version": drift["version"], "fields": ["power"]})[0] == 422
    taken = service.ask(f"{path}/accept", {"version": drift["version"], "fields": list(drift["acceptable"])})
    assert set(settings_of(taken["drift"])) == {"onboot"}
    now = service.server(server["id"])
    assert (now["name"], now["hostname"], now["cpu"], now["disk_bytes"]) == (
        "drift-renamed",
        "drift-renamed",
        4,
        6 * GIB,
    )
    assert set(settings_of(looked_at(service, server))) == {"onboot"}
    service.done(f"{path}/reconcile")
    until_in_sync(service, server)


def test_what_has_moved_since_is_not_taken_over(service: Service, sandbox: Sandbox) -> None:
    server = service.built("drift-moved", start=False)
    path = f"servers/{server['id']}/drift"
    change(sandbox, server, cores=4)
    drift = looked_at(service, server)
    change(sandbox, server, cores=5)
    status, error = service.refused(f"{path}/accept", {"version": drift["version"]})
    assert (status, error["code"]) == (409, "conflict")
    with struck(sandbox, server, status=500):
        assert service.refused(f"{path}/accept", {"version": drift["version"]})[0] == 503
    assert service.server(server["id"])["cpu"] == server["cpu"]
    again = looked_at(service, server)
    assert again["version"] != drift["version"]
    assert service.ask(f"{path}/accept", {"version": again["version"]})["drift"]["status"] == "in_sync"
    assert service.server(server["id"])["cpu"] == 5


def test_one_vm_that_cannot_be_asked_is_unknown_and_holds_nobody_back(
    service: Service, sandbox: Sandbox
) -> None:
    silent, well = service.built("drift-silent", start=False), service.built("drift-well", start=False)
    change(sandbox, well, cores=7)
    for fault in ({"status": 500}, {"status": 596}, {"reset": True}):
        with struck(sandbox, silent, **fault):
            job = service.done(f"nodes/{service.ids['node']}/drift")
        drift = drift_of(service, silent)
        assert (drift["status"], drift["differences"]) == ("unknown", [])
        assert drift["error"]["code"] in ("proxmox_error", "node_unavailable"), drift
        assert settings_of(drift_of(service, well)) == {"cores": (7, well["cpu"])}
        assert job["result"]["unknown"] == 1
    assert {entry["server_name"] for entry in service.read("drift?status=unknown")["drift"]} == {
        "drift-silent"
    }
    assert looked_at(service, silent)["status"] == "in_sync"


def test_what_was_found_of_a_server_that_was_changed_meanwhile_is_not_kept(
    service: Service, sandbox: Sandbox
) -> None:
    power, record = service.built("drift-race-power"), service.built("drift-race-record", start=False)
    for server in (power, record):
        assert looked_at(service, server)["status"] == "in_sync"
    for server, path, body, method in (
        (power, "power", {"action": "stop"}, "POST"),
        (record, "", {"tags": ["new"]}, "PATCH"),
    ):
        base = f"servers/{server['id']}"
        change(sandbox, server, tags="other")
        with struck(sandbox, server, delay=3):
            look = service.ask(f"{base}/drift/check")["job"]["id"]
            wait_for(lambda look=look: service.read(f"jobs/{look}")["job"]["progress"] >= 0, "the look")
            wait_for(
                lambda: sandbox.control.get("/faults").json()[0]["struck"],
                "the question",
                seconds=20,
            )
            changed = service.ask(f"{base}/{path}".rstrip("/"), body, method)  # a look locks no server
            assert service.finished(look)["result"] == {"skipped": 1}
        assert service.finished(changed["job"]["id"])["status"] == "succeeded"
        assert drift_of(service, server)["status"] == "in_sync"
    # The second one's tags were set by its job; those of the first are somebody else's.
    assert looked_at(service, record)["status"] == "in_sync"
    assert set(settings_of(looked_at(service, power))) == {"tags"}


def test_a_sweep_goes_on_where_its_worker_was_killed(service: Service, sandbox: Sandbox) -> None:
    server = service.built("drift-killed", start=False)
    with struck(sandbox, server, delay=5):
        job = service.ask(f"nodes/{service.ids['node']}/drift")["job"]["id"]
        wait_for(lambda: sandbox.control.get("/faults").json()[0]["struck"], "the question", seconds=20)
        service.kill_worker(service.workers[0])
        service.start_worker()
        service.start_worker()
    job = service.finished(job)
    assert (job["status"], job["attempt"]) == ("succeeded", 2)
    assert drift_of(service, server)["status"] == "in_sync"
    assert sum(job["result"].values()) == len(service.read("servers?status=ready")["servers"])


def test_a_look_is_cancelled_and_leaves_what_was_known(service: Service, sandbox: Sandbox) -> None:
    server = service.built("drift-cancelled", start=False)
    known = looked_at(service, server)
    change(sandbox, server, cores=7)
    with struck(sandbox, server, delay=5):
        job = service.ask(f"servers/{server['id']}/drift/check")["job"]["id"]
        wait_for(lambda: sandbox.control.get("/faults").json()[0]["struck"], "the question", seconds=20)
        service.ask(f"jobs/{job}/cancel")
    assert service.finished(job)["status"] == "cancelled"
    assert drift_of(service, server) == known


def test_a_node_that_is_away_makes_its_servers_unknown(service: Service, sandbox: Sandbox) -> None:
    server = service.built("drift-away", start=False)
    change(sandbox, server, cores=7)
    found = looked_at(service, server)
    sandbox.control.patch("/nodes/pve1", json={"online": False}).raise_for_status()
    job = service.finished(service.ask(f"servers/{server['id']}/drift/check")["job"]["id"])
    sandbox.control.patch("/nodes/pve1", json={"online": True}).raise_for_status()
    assert (job["status"], job["error"]["code"]) == ("failed", "node_unavailable")
    drift = drift_of(service, server)
    assert (drift["status"], drift["error"]["code"]) == ("unknown", "node_unavailable")
    assert (drift["differences"], drift["found_at"]) == (found["differences"], found["found_at"])
    assert service.refused(f"servers/{server['id']}/drift/accept", {"version": drift["version"]})[0] == 409
    service.ask(f"jobs/{job['id']}/retry")
    assert service.finished(job["id"])["status"] == "succeeded"
    assert drift_of(service, server)["status"] == "drifted"


def test_workers_sweep_by_themselves_and_let_others_go_first(sandbox: Sandbox, tmp_path: Path) -> None:
    settings = {
        "JOTUNHEIM_DRIFT_SWEEP_SECONDS": "3600",
        "JOTUNHEIM_DRIFT_REASSERT": "false",
        "JOTUNHEIM_DRIFT_BATCH_SERVERS": "1",
        "JOTUNHEIM_WORKER_CONCURRENCY": "1",
    }
    with (
        postgresql() as store,
        Service.start(
            tmp_path / "state", settings={**settings, "JOTUNHEIM_DATABASE_URL": store.url}
        ) as swept,
    ):
        swept.add_infrastructure(sandbox)
        first, second, third = (swept.built(f"drift-swept-{number}", start=False) for number in range(3))
        wait_for(lambda: not swept.read("jobs?type=node.drift&status=running")["jobs"], "the first sweep")
        for server in (first, second, third):
            pve(sandbox, "PUT", f"/nodes/pve1/qemu/{server['vmid']}/firewall/options", enable=0)
        with struck(sandbox, first, delay=3):
            sweep = swept.ask(f"nodes/{swept.ids['node']}/drift")["job"]["id"]
            wait_for(lambda: sandbox.control.get("/faults").json()[0]["struck"], "the question", seconds=20)
            power = swept.ask(f"servers/{third['id']}/power", {"action": "start"})["job"]["id"]
        done = swept.finished(power)
        assert swept.read(f"jobs/{sweep}")["job"]["status"] != "succeeded"
        job = swept.finished(sweep)
        assert (job["attempt"], job["result"]) == (1, {"drifted": 3})
        assert done["finished_at"] < job["finished_at"]
        for server in (first, second, third):
            assert "firewall.enable" in settings_of(drift_of(swept, server))
        assert swept.read("jobs?type=server.firewall")["jobs"] == []
        # A sweep that nobody has asked for: the first one, as soon as there was a server.
        swept.start_worker()
        jobs = swept.read("jobs?type=node.drift&requested_by=drift%20sweep")["jobs"]
        assert [job["status"] for job in jobs] == ["succeeded"]


def test_the_command_line_tells_accepts_and_reconciles(service: Service, sandbox: Sandbox, run: Run) -> None:
    server = service.built("drift-cli", start=False)
    environment = remote(service)
    same = run("drift", "--server", "drift-cli", "--json", **environment)
    assert (same.status, same.document["drift"][0]["status"]) == (0, "in_sync")
    change(sandbox, server, cores=3, onboot=0)
    off = run("drift", "--server", "drift-cli", **environment)
    assert off.status == 1
    assert f"cores: 3 → {server['cpu']}" in off.out
    assert "0 of 1 servers are as recorded." in off.out
    assert "jotunheim drift reconcile" in off.err
    listed = run("drift", "list", "--status", "drifted", "--json", **environment)
    assert "drift-cli" in {drift["server_name"] for drift in listed.document["drift"]}
    taken = run("drift", "accept", "drift-cli", "--field", "cpu", **environment)
    assert (taken.status, service.server(server["id"])["cpu"]) == (0, 3)
    refused = run("drift", "accept", "drift-cli", **environment)
    assert (refused.status, "onboot" in refused.err) == (1, True)
    preview = run("drift", "reconcile", "drift-cli", "--check", "--wait", **environment)
    assert (preview.status, "onboot" in preview.out) == (0, True)
    done = run("drift", "reconcile", "drift-cli", "--wait", **environment)
    assert done.status == 0
    assert int(sandbox.config(server["vmid"])["onboot"]) == 1
