"""What is on nodes with our mark and in no record: it is found, shown with what speaks against it, and removed when somebody says so."""

import sqlite3
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cli.conftest import Run, remote
from tests.cli.conftest import run as run  # a fixture
from tests.end_to_end.cluster import Cluster
from tests.support.processes import wait_for

FOREIGN = "jotunheim:server=0f5b9c1e-1111-4222-8333-444455556666"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two nodes with a storage that they share."""
    with Cluster.start(tmp_path_factory.mktemp("orphans")) as started:
        yield started


def scanned(cluster: Cluster, node: str = "pve1") -> dict[str, Any]:
    """What a scan of a node, which must succeed, led to."""
    result: dict[str, Any] = cluster.service.done(f"nodes/{cluster.nodes[node]}/scan")["result"]
    return result


def orphans(cluster: Cluster, **filters: object) -> list[dict[str, Any]]:
    """The orphans that are known."""
    query = "&".join(f"{name}={value}" for name, value in filters.items())
    found: list[dict[str, Any]] = cluster.service.read(f"orphans?{query}")["orphans"]
    return found


def lose(cluster: Cluster, *statements: str) -> None:
    """Take rows out of the records, as if an older copy of the database had been put back."""
    with sqlite3.connect(cluster.service.state / "jotunheim.db", timeout=30) as store:
        store.execute("PRAGMA foreign_keys = 1")
        for statement in statements:
            store.execute(statement)
    store.close()


def hexed(id_: str) -> str:
    """An id as SQLite has it."""
    return uuid.UUID(id_).hex


def backed_up(cluster: Cluster, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A stopped server on the first node with a backup."""
    server = cluster.built(name, node_id=cluster.nodes["pve1"], start=False)
    asked = cluster.service.ask(f"servers/{server['id']}/backups")
    assert cluster.service.finished(asked["job"]["id"])["status"] == "succeeded"
    path = f"servers/{server['id']}/backups/{asked['backup']['id']}"
    return server, cluster.service.read(path)["backup"]


def test_what_lost_its_record_is_found_and_pruned(cluster: Cluster) -> None:
    server, backup = backed_up(cluster, "orphan-lost")
    kept, _ = backed_up(cluster, "orphan-kept")
    assert scanned(cluster) == {"found": 0, "new": 0, "gone": 0, "lacking": []}
    lose(
        cluster,
        f"DELETE FROM backup WHERE id = '{hexed(backup['id'])}'",
        f"DELETE FROM server WHERE id = '{hexed(server['id'])}'",
    )
    assert scanned(cluster) == {"found": 2, "new": 2, "gone": 0, "lacking": []}
    assert scanned(cluster) == {"found": 2, "new": 0, "gone": 0, "lacking": []}
    [vm] = orphans(cluster, kind="vm")
    assert (vm["mark"], vm["vmid"], vm["name"], vm["cautions"]) == (
        server["id"],
        server["vmid"],
        "orphan-lost",
        [],
    )
    assert (vm["node"]["name"], vm["volume"], vm["job_id"]) == ("pve1", None, None)
    [archive] = orphans(cluster, kind="backup")
    assert (archive["mark"], archive["volume"], archive["cautions"]) == (backup["id"], backup["volume"], [])
    assert archive["size_bytes"] == backup["size_bytes"]

    preview = cluster.service.done(f"orphans/{vm['id']}/prune?check=true")
    assert preview["steps"][-1]["changed"]
    assert server["vmid"] in cluster.sandbox.vmids()
    for orphan in (vm, archive):
        job = cluster.service.done(f"orphans/{orphan['id']}/prune")
        assert (job["type"], job["steps"][-1]["changed"]) == ("orphan.prune", True)
    assert server["vmid"] not in cluster.sandbox.vmids()
    assert kept["vmid"] in cluster.sandbox.vmids()
    left = {
        entry["vmid"] for entry in cluster.sandbox.get("/nodes/pve1/storage/local/content", content="backup")
    }
    assert left == {kept["vmid"]}
    assert orphans(cluster) == []
    assert scanned(cluster)["found"] == 0


def test_somebody_elses_needs_to_be_named_as_such(cluster: Cluster) -> None:
    cluster.task(
        "POST", "/nodes/pve1/qemu", vmid=5001, name="foreign", description=FOREIGN, scsi0="vmstore:1"
    )
    cluster.task("POST", "/nodes/pve1/qemu/5001/status/start")
    assert scanned(cluster)["new"] == 1
    [vm] = orphans(cluster)
    assert vm["cautions"] == ["unknown", "copied", "running"]
    for despite in ([], ["unknown", "copied"]):
        status, error = cluster.service.refused(f"orphans/{vm['id']}/prune", {"despite": despite})
        assert (status, error["code"], error["details"][0]["field"]) == (422, "invalid_input", "despite")
    status, error = cluster.service.refused(f"orphans/{vm['id']}/prune", {"despite": ["sleepy"]})
    assert (status, error["details"][0]["field"]) == (422, "despite.0")
    assert 5001 in cluster.sandbox.vmids()

    cluster.sandbox.do("PUT", "/nodes/pve1/qemu/5001/config", protection=1)
    scanned(cluster)
    despite = {"despite": vm["cautions"]}
    assert cluster.service.refused(f"orphans/{vm['id']}/prune", despite)[1]["code"] == "protected"
    cluster.sandbox.do("PUT", "/nodes/pve1/qemu/5001/config", protection=0)
    scanned(cluster)
    assert cluster.service.done(f"orphans/{vm['id']}/prune", despite)["result"]["vmid"] == 5001
    assert 5001 not in cluster.sandbox.vmids()


def test_what_became_something_else_since_is_not_touched(cluster: Cluster) -> None:
    cluster.task("POST", "/nodes/pve1/qemu", vmid=5002, name="other", description=FOREIGN)
    scanned(cluster)
    [vm] = orphans(cluster)
    assert vm["cautions"] == ["unknown", "copied"]
    despite = {"despite": vm["cautions"]}
    cluster.task("POST", "/nodes/pve1/qemu/5002/status/start")
    job = cluster.service.finished(cluster.service.ask(f"orphans/{vm['id']}/prune", despite)["job"]["id"])
    assert (job["status"], job["error"]["code"]) == ("failed", "orphan_changed")
    cluster.task("POST", "/nodes/pve1/qemu/5002/status/stop")
    cluster.sandbox.do("PUT", "/nodes/pve1/qemu/5002/config", description="{{ lookup('pipe', 'id') }}")
    job = cluster.service.finished(cluster.service.ask(f"orphans/{vm['id']}/prune", despite)["job"]["id"])
    assert (job["status"], job["error"]["code"]) == ("failed", "vm_not_ours")
    assert 5002 in cluster.sandbox.vmids()
    assert scanned(cluster) == {"found": 0, "new": 0, "gone": 1, "lacking": []}
    cluster.task("DELETE", "/nodes/pve1/qemu/5002")


def test_a_copy_of_a_server_is_none_while_that_is_there(cluster: Cluster) -> None:
    server = cluster.built("orphan-copied", node_id=cluster.nodes["pve1"], start=False)
    cluster.task("POST", f"/nodes/pve1/qemu/{server['vmid']}/clone", newid=5003, full=1)
    assert scanned(cluster)["found"] == 0
    cluster.service.done(f"servers/{server['id']}", method="DELETE")
    scanned(cluster)
    [vm] = orphans(cluster)
    assert (vm["vmid"], vm["mark"], vm["cautions"]) == (5003, server["id"], ["copied"])
    cluster.service.done(f"orphans/{vm['id']}/prune", {"despite": ["copied"]})


def test_disks_without_a_vm_are_found_once_and_only_removed_when_nothing_uses_them(cluster: Cluster) -> None:
    first = int(cluster.service.environment["JOTUNHEIM_VMID_FIRST"])
    vmid, other = first + 500, first + 501
    for storage in ("vmstore", "shared"):
        made = {"vmid": vmid, "filename": f"vm-{vmid}-disk-0.raw", "size": "1G"}
        cluster.sandbox.do("POST", f"/nodes/pve1/storage/{storage}/content", **made)
    cluster.sandbox.do(
        "POST", "/nodes/pve1/storage/vmstore/content", vmid=999, filename="vm-999-disk-0.raw", size="1G"
    )
    assert (scanned(cluster)["found"], scanned(cluster, "pve2")["found"]) == (2, 0)
    local, shared = orphans(cluster, kind="disk", sort="name")[::-1]
    assert (local["storage"], shared["storage"]) == ("vmstore", "shared")
    assert (local["vmid"], local["mark"], local["cautions"]) == (vmid, None, ["unmarked"])
    despite = {"despite": ["unmarked"]}

    def pruned(orphan: dict[str, Any]) -> dict[str, Any]:
        return cluster.service.finished(
            cluster.service.ask(f"orphans/{orphan['id']}/prune", despite)["job"]["id"]
        )

    job = pruned(local)
    assert (job["status"], job["error"]["code"]) == ("failed", "node_permission")
    assert "Datastore.Allocate" in job["error"]["hint"]
    for storage in ("vmstore", "shared"):
        how = {
            "path": f"/storage/{storage}",
            "roles": "PVEDatastoreAdmin",
            "tokens": cluster.sandbox.token_id,
        }
        cluster.sandbox.do("PUT", "/access/acl", users="jotunheim@pve", **how)
    cluster.task("POST", "/nodes/pve2/qemu", vmid=other, name="user", scsi1=shared["volume"])
    job = pruned(shared)
    assert (job["status"], job["error"]["code"]) == ("failed", "orphan_changed")
    assert f"Guest {other}" in job["error"]["message"]
    assert pruned(local)["result"] == {"kind": "disk", "name": local["volume"], "vmid": vmid}
    volumes = {
        entry["volid"]
        for entry in cluster.sandbox.get("/nodes/pve1/storage/vmstore/content", content="images")
    }
    assert local["volume"] not in volumes
    assert any("vm-999-disk-0.raw" in volume for volume in volumes)
    cluster.task("DELETE", f"/nodes/pve2/qemu/{other}")
    scanned(cluster)
    for orphan in orphans(cluster):
        assert pruned(orphan)["status"] == "succeeded"


def test_what_could_not_be_read_stays_as_it_was_known(cluster: Cluster) -> None:
    server, backup = backed_up(cluster, "orphan-unread")
    lose(cluster, f"DELETE FROM backup WHERE id = '{hexed(backup['id'])}'")
    scanned(cluster)
    [archive] = orphans(cluster)
    for path, fault, ended in (
        ("storage/local/content", {"status": 500}, None),
        ("storage/local/content", {"status": 596}, None),
        ("", {"status": 596}, "node_unavailable"),
    ):
        held = {"method": "GET", "path": path, "count": 20, **fault}
        cluster.sandbox.control.post("/faults", json=held).raise_for_status()
        answer = cluster.service.ask(f"nodes/{cluster.nodes['pve1']}/scan")
        job = cluster.service.finished(answer["job"]["id"])
        cluster.sandbox.control.delete("/faults").raise_for_status()
        if ended is None:
            assert (job["status"], len(job["result"]["lacking"])) == ("succeeded", 1)
        else:
            assert (job["status"], job["error"]["code"]) == ("failed", ended)
        assert [orphan["id"] for orphan in orphans(cluster)] == [archive["id"]]
    cluster.service.done(f"orphans/{archive['id']}/prune")
    cluster.service.done(f"servers/{server['id']}", method="DELETE")


def test_what_is_being_made_or_removed_is_no_orphan(cluster: Cluster) -> None:
    cluster.sandbox.control.post(
        "/faults", json={"method": "GET", "path": "^/nodes/pve1/qemu$", "delay": 0.5, "count": 3}
    ).raise_for_status()
    server = cluster.built("orphan-moving", node_id=cluster.nodes["pve1"], start=False)
    scans = [cluster.service.ask(f"nodes/{cluster.nodes['pve1']}/scan")["job"]["id"]]
    jobs = [
        cluster.service.ask(f"servers/{server['id']}", method="DELETE")["job"]["id"],
        cluster.create("orphan-coming", node_id=cluster.nodes["pve1"], start=False)["job"]["id"],
    ]
    while any(cluster.service.read(f"jobs/{job}")["job"]["finished_at"] is None for job in jobs):
        scans.append(cluster.service.ask(f"nodes/{cluster.nodes['pve1']}/scan")["job"]["id"])
    for job in {*scans, *jobs}:
        ended = cluster.service.finished(job)
        assert ended["status"] == "succeeded"
        assert (ended["result"] or {}).get("found", 0) == 0
    cluster.sandbox.control.delete("/faults").raise_for_status()


def test_two_at_once_prune_it_once(cluster: Cluster) -> None:
    cluster.task("POST", "/nodes/pve1/qemu", vmid=5004, name="twice", description=FOREIGN)
    scanned(cluster)
    [vm] = orphans(cluster)
    path, despite = f"orphans/{vm['id']}/prune", {"despite": vm["cautions"]}
    cluster.sandbox.control.post(
        "/faults", json={"method": "GET", "path": "qemu/5004/config", "delay": 1, "count": 1}
    ).raise_for_status()
    job = cluster.service.ask(path, despite)["job"]["id"]
    status, error = cluster.service.refused(path, despite)
    assert (status, error["code"], error["details"][0]["message"]) == (409, "locked", job)
    assert orphans(cluster)[0]["job_id"] == job
    assert cluster.service.finished(job)["status"] == "succeeded"
    assert cluster.service.refused(path, despite)[0] == 404


def test_on_the_command_line(cluster: Cluster, run: Run) -> None:
    cluster.task("POST", "/nodes/pve1/qemu", vmid=5005, name="typed", description=FOREIGN)
    environment = remote(cluster.service)
    found = run("orphan", "scan", "pve1", "--wait", **environment)
    assert "Found 1, 1 of them new" in found.out
    listed = run("orphan", "list", "--node", "pve1", "--kind", "vm", "--json", **environment)
    [vm] = listed.document["orphans"]
    assert "typed" in run("orphan", "list", **environment).out
    refused = run("orphan", "prune", vm["id"], "--yes", **environment)
    assert refused.status == 1
    assert "--despite" in refused.err
    despite = [part for caution in vm["cautions"] for part in ("--despite", caution)]
    shown = run("orphan", "prune", vm["id"], *despite, "--check", "--wait", **environment)
    plan = shown.out.rsplit("--plan ", 1)[1].strip()
    applied = run("orphan", "prune", vm["id"], *despite, "--plan", plan, "--wait", **environment)
    assert applied.status == 0, applied.err
    assert 5005 not in cluster.sandbox.vmids()


def test_workers_look_by_themselves(cluster: Cluster) -> None:
    cluster.task("POST", "/nodes/pve1/qemu", vmid=5006, name="by-itself", description=FOREIGN)
    lose(cluster, "DELETE FROM job WHERE type = 'node.scan'")
    quick = {"JOTUNHEIM_ORPHAN_SCAN_SECONDS": "3600", "JOTUNHEIM_SWEEP_SECONDS": "0.05"}
    worker = cluster.service.start_worker(**quick)
    assert wait_for(lambda: orphans(cluster), "the orphan")[0]["vmid"] == 5006
    jobs = cluster.service.read("jobs?type=node.scan")["jobs"]
    assert sorted(resource["id"] for job in jobs for resource in job["resources"]) == sorted(
        str(id_) for id_ in cluster.nodes.values()
    )
    assert {job["requested_by"] for job in jobs} == {"orphan sweep"}
    cluster.service.kill_worker(worker)
