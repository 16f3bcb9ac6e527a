"""What nodes tell: read by a job and by workers, kept for graphs, and followed when VMs move."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.cluster import GIB, Cluster
from tests.support.processes import wait_for


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Asked only when a test wants it, but for the first time."""
    settings = {"JOTUNHEIM_SYNC_SECONDS": "3600"}
    with Cluster.start(tmp_path_factory.mktemp("cluster"), settings=settings) as started:
        yield started


def test_a_sync_reads_what_the_node_has(cluster: Cluster) -> None:
    server = cluster.built("read", node_id=cluster.nodes["pve1"], memory_bytes=GIB)
    result = cluster.sync()
    assert (result["moved"], result["missing"], result["lacking"]) == ([], [], [])
    state = cluster.node("pve1")["state"]
    assert (state["status"], state["version"], state["error"]) == ("online", "8.4.21", None)
    assert (state["memory_bytes"], state["cpu_count"]) == (1024 * GIB, 2)
    assert (state["bridges"], state["peers"]) == (["vmbr0"], ["pve1", "pve2"])
    assert state["memory_reserved_bytes"] >= server["memory_bytes"]
    assert state["memory_available_bytes"] == 1024 * GIB - state["memory_reserved_bytes"]
    listed = cluster.service.read(f"nodes/{cluster.nodes['pve1']}/storages")
    storages = {storage["name"]: storage for storage in listed["storages"]}
    assert set(storages) == {"local", "shared", "vmstore"}
    assert storages["shared"]["shared"]
    assert "iso" in storages["local"]["content"]
    # The template of pve2 is on the shared storage, and so are our server's 2 GiB.
    assert storages["shared"]["reserved_bytes"] >= 4 * GIB
    assert storages["vmstore"]["reserved_bytes"] is None


def test_a_server_does_not_outgrow_its_node(cluster: Cluster) -> None:
    server = cluster.built("grows", node_id=cluster.nodes["pve1"], start=False)
    path = f"servers/{server['id']}"
    for change in ({"memory_bytes": 2048 * GIB}, {"disk_bytes": 8192 * GIB}):
        status, error = cluster.service.refused(path, change, "PATCH")
        assert (status, error["code"], error["details"][0]["field"]) == (409, "placement_error", "pve1")
        status, error = cluster.service.refused(f"{path}?check=true", change, "PATCH")
        assert (status, error["code"]) == (409, "placement_error")
    assert cluster.service.server(server["id"]) == server
    cluster.service.done(path, {"memory_bytes": 2 * GIB}, "PATCH")


def test_the_account_is_the_templates_or_else_the_groups(cluster: Cluster) -> None:
    group = f"template-groups/{cluster.group}"
    cluster.service.ask(group, {"default_user": "ops"}, "PATCH")
    ours = cluster.built("of-the-group", node_id=cluster.nodes["pve1"], start=False)
    assert cluster.sandbox.config(ours["vmid"])["ciuser"] == "ops"
    template = f"templates/{cluster.templates['pve1']}"
    cluster.service.ask(template, {"default_user": "debian"}, "PATCH")
    ours = cluster.built("of-the-template", node_id=cluster.nodes["pve1"], start=False)
    assert cluster.sandbox.config(ours["vmid"])["ciuser"] == "debian"
    cluster.service.ask(template, {"default_user": None}, "PATCH")
    cluster.service.ask(group, {"default_user": None}, "PATCH")


def test_a_job_shows_steps_and_is_about_the_node(cluster: Cluster) -> None:
    job = cluster.service.done(f"nodes/{cluster.nodes['pve2']}/sync")
    assert job["type"] == "node.sync"
    assert job["resources"] == [{"type": "node", "id": str(cluster.nodes["pve2"])}]
    assert [step["status"] for step in job["steps"]] == ["ok", "ok"]


def test_two_requests_at_once_are_one_sync(cluster: Cluster) -> None:
    held = {"method": "GET", "path": "^/nodes/pve1/status$", "delay": 1.5}
    cluster.sandbox.control.post("/faults", json=held).raise_for_status()
    path = f"nodes/{cluster.nodes['pve1']}/sync"
    jobs = {cluster.service.ask(path)["job"]["id"] for _ in range(3)}
    assert len(jobs) == 1
    assert cluster.service.finished(jobs.pop())["status"] == "succeeded"


def test_the_history_has_one_entry_a_minute_and_one_a_half_hour(cluster: Cluster) -> None:
    path = f"nodes/{cluster.nodes['pve1']}/usage"
    cluster.sync()
    (minute, *_) = reversed(cluster.service.read(path)["usage"])
    assert 0 <= minute["cpu"] <= 1
    assert minute["memory_bytes"] == 1024 * GIB
    assert 0 < minute["memory_used_bytes"] < minute["memory_bytes"]
    assert minute["storage_bytes"] == 4096 * GIB
    assert cluster.service.read(f"{path}?resolution_seconds=1800")["usage"]
    assert cluster.service.read(f"{path}?until=2026-01-01T00:00:00Z")["usage"] == []
    for query, field in (
        ("resolution_seconds=7", "resolution_seconds"),
        ("since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z", "since"),
        ("since=2026-01-02T00:00:00", "since"),
    ):
        code, error = cluster.service.refused(f"{path}?{query}", method="GET")
        assert (code, error["details"][0]["field"]) == (422, field)


def test_a_server_that_was_migrated_is_followed_by_its_uuid(cluster: Cluster) -> None:
    server = cluster.built("migrated", node_id=cluster.nodes["pve1"], start=False)
    cluster.task("POST", f"/nodes/pve1/qemu/{server['vmid']}/migrate", target="pve2")
    (moved,) = cluster.sync("pve1")["moved"]
    assert (moved["name"], moved["from_node"], moved["to_node"]) == ("migrated", "pve1", "pve2")
    assert cluster.service.server(server["id"])["node"]["name"] == "pve2"
    cluster.service.done(f"servers/{server['id']}/power", {"action": "start"})
    assert cluster.sandbox.get(f"/nodes/pve2/qemu/{server['vmid']}/status/current")["status"] == "running"


def test_the_node_that_it_came_to_finds_it_too(cluster: Cluster) -> None:
    server = cluster.built("arrived", node_id=cluster.nodes["pve2"], start=False)
    cluster.task("POST", f"/nodes/pve2/qemu/{server['vmid']}/migrate", target="pve1")
    cluster.sync("pve1")
    assert cluster.service.server(server["id"])["node"]["name"] == "pve1"


def test_a_job_finds_a_vm_that_moved_before_anybody_noticed(cluster: Cluster) -> None:
    server = cluster.built("hurried", node_id=cluster.nodes["pve1"], start=False)
    path = f"servers/{server['id']}"
    cluster.task("POST", f"/nodes/pve1/qemu/{server['vmid']}/migrate", target="pve2")
    job = cluster.service.done(f"{path}/power", {"action": "start"})
    assert job["attempt"] == 2
    assert cluster.service.server(server["id"])["node"]["name"] == "pve2"
    cluster.service.done(f"{path}/power", {"action": "stop"})
    cluster.task("POST", f"/nodes/pve2/qemu/{server['vmid']}/migrate", target="pve1")
    cluster.service.done(path, {"purge": True}, "DELETE")
    assert server["vmid"] not in cluster.sandbox.vmids()


def test_backups_are_made_where_the_server_is_and_removed_where_they_are(cluster: Cluster) -> None:
    server = cluster.built("backed-up", node_id=cluster.nodes["pve1"], start=False)
    path = f"servers/{server['id']}/backups"
    cluster.service.done(path)
    cluster.task("POST", f"/nodes/pve1/qemu/{server['vmid']}/migrate", target="pve2")
    job = cluster.service.done(path)  # nobody has noticed yet
    assert job["attempt"] == 2
    there, here = cluster.service.read(path)["backups"]
    assert [backup["node"]["name"] for backup in (here, there)] == ["pve1", "pve2"]
    job = cluster.service.finished(cluster.service.ask(f"{path}/{here['id']}/restore")["job"]["id"])
    assert (job["status"], job["error"]["code"]) == ("failed", "backup_not_found")
    assert cluster.service.server(server["id"])["status"] == "ready"
    for backup in (here, there):
        cluster.service.done(f"{path}/{backup['id']}", method="DELETE")
    for node in ("pve1", "pve2"):
        found = cluster.sandbox.get(f"/nodes/{node}/storage/local/content", content="backup")
        assert [entry for entry in found if entry["vmid"] == server["vmid"]] == []


def test_a_strange_vm_with_its_vmid_is_not_taken_for_it(cluster: Cluster) -> None:
    server = cluster.built("replaced", node_id=cluster.nodes["pve1"], start=False)
    vmid = server["vmid"]
    cluster.task("DELETE", f"/nodes/pve1/qemu/{vmid}")
    cluster.task("POST", "/nodes/pve2/qemu", vmid=vmid, name="replaced", memory=512)
    result = cluster.sync("pve1")
    assert (result["moved"], result["missing"]) == ([], ["replaced"])
    shown = cluster.service.server(server["id"])
    assert (shown["node"]["name"], shown["power"]) == ("pve1", "unknown")
    assert shown["missing_since"]
    cluster.task("DELETE", f"/nodes/pve2/qemu/{vmid}")


def test_a_token_that_sees_nothing_makes_no_server_missing(cluster: Cluster) -> None:
    server = cluster.built("unseen", node_id=cluster.nodes["pve1"], start=False)
    secret = cluster.sandbox.make_token("blind@pve!it", frozenset({"VM.Audit", "Sys.Audit"}))
    before = {"token_id": cluster.sandbox.token_id, "token_secret": cluster.sandbox.token_secret}
    cluster.change_node("pve1", token_id="blind@pve!it", token_secret=secret)
    result = cluster.sync("pve1")
    assert result["missing"] == []
    assert any("Sys.Audit" in said for said in result["lacking"])
    assert cluster.service.server(server["id"])["missing_since"] is None
    cluster.change_node("pve1", **before)
    cluster.sync("pve1")
    assert cluster.node("pve1")["state"]["lacking"] == []


def test_a_node_goes_offline_and_comes_back(cluster: Cluster) -> None:
    cluster.set_node("pve2", online=False)
    path = f"nodes/{cluster.nodes['pve2']}/sync"
    for expected in ("online", "offline"):  # once is no reason yet
        job = cluster.service.finished(cluster.service.ask(path)["job"]["id"])
        assert (job["status"], job["error"]["code"]) == ("failed", "node_unavailable")
        state = cluster.node("pve2")["state"]
        assert (state["status"], state["error"]["code"]) == (expected, "node_unavailable")
    there = {"name": "there", "template_group_id": cluster.group, "node_id": cluster.nodes["pve2"]}
    status, error = cluster.service.refused("servers", there)
    assert (status, error["code"]) == (409, "placement_error")
    assert error["details"][0]["message"].startswith("is offline since ")
    assert cluster.create("elsewhere")["server"]["node"]["name"] == "pve1"
    cluster.set_node("pve2", online=True)
    job = cluster.service.ask(f"jobs/{job['id']}/retry")["job"]
    assert cluster.service.finished(job["id"])["status"] == "succeeded"
    assert cluster.node("pve2")["state"]["status"] == "online"


def test_a_template_that_is_gone_is_noted_and_one_that_is_back_is_used(cluster: Cluster) -> None:
    cluster.task("POST", "/nodes/pve1/qemu", vmid=9100, name="shortlived", scsi0="shared:1", memory=512)
    cluster.task("POST", "/nodes/pve1/qemu/9100/template")
    spec = {"name": "shortlived", "node_id": cluster.nodes["pve1"], "vmid": 9100}
    template = cluster.service.create("templates", spec)["template"]
    cluster.task("DELETE", "/nodes/pve1/qemu/9100")
    cluster.sync("pve1")
    assert cluster.service.read(f"templates/{template['id']}")["template"]["missing_since"]
    wanted = {"name": "too-late", "template_id": template["id"]}
    code, error = cluster.service.refused("servers", wanted)
    assert (code, error["code"]) == (409, "placement_error")
    assert "no template 9100" in error["message"]


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster that a worker asks all the time."""
    with Cluster.start(tmp_path, settings={"JOTUNHEIM_SYNC_SECONDS": "0.5"}) as started:
        yield started


def test_workers_notice_by_themselves(watched: Cluster) -> None:
    def state(name: str) -> dict[str, Any]:
        found: dict[str, Any] = watched.node(name)["state"]
        return found

    server = watched.built("seen", node_id=watched.nodes["pve1"], start=False)
    watched.task("POST", f"/nodes/pve1/qemu/{server['vmid']}/migrate", target="pve2")
    wait_for(lambda: watched.service.server(server["id"])["node"]["name"] == "pve2", "the sweep")
    watched.set_node("pve1", online=False)
    wait_for(lambda: state("pve1")["status"] == "offline", "the node to be offline", seconds=60)
    assert state("pve2")["status"] == "online"
    watched.set_node("pve1", online=True)
    wait_for(lambda: state("pve1")["status"] == "online", "the node to be back", seconds=60)
