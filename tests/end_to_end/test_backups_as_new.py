"""Backups that become new servers."""

from pathlib import Path
from typing import Any

from tests.end_to_end.cluster import Cluster
from tests.end_to_end.test_backups import made
from tests.end_to_end.test_previews import differences
from tests.support.sandbox import Sandbox
from tests.support.service import Service

GIB = 2**30


def asked_anew(service: Service, name: str, backup: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """The answer to a request for a server made from a backup."""
    return service.ask("servers", {"name": name, "backup_id": backup["id"], **spec})


def net(config: dict[str, Any]) -> dict[str, str]:
    """The first network device, its MAC address under `virtio`."""
    return dict(part.split("=", 1) for part in config["net0"].split(","))


def test_a_second_server_stands_beside_the_first(service: Service, sandbox: Sandbox) -> None:
    spec = {"addresses": {"ipv4": 1}, "cpu": 2, "memory_bytes": 2 * GIB, "disk_bytes": 5 * GIB}
    first = service.built("as-new-first", tags=["first"], **spec)
    sandbox.do("PUT", f"/nodes/pve1/qemu/{first['vmid']}/config", onboot=1, ipconfig1="ip=192.0.2.7/24")
    backup = made(service, first)
    before = sandbox.config(first["vmid"])
    archives = sandbox.get("/nodes/pve1/storage/local/content", content="backup", vmid=first["vmid"])

    shown = service.ask(
        "servers?check=true", {"name": "as-new-second", "backup_id": backup["id"], "addresses": {"ipv4": 1}}
    )
    preview = service.finished(shown["job"]["id"])
    assert preview["status"] == "succeeded", preview
    made_now = service.ask(f"servers?plan={preview['id']}")
    job = service.finished(made_now["job"]["id"])
    assert job["status"] == "succeeded", job
    assert made_now["server"]["vmid"] == shown["server"]["vmid"]
    assert {line[0] for line in differences(preview)} == {line[0] for line in differences(job)}

    second = service.server(made_now["server"]["id"])
    assert (second["status"], second["power"]) == ("ready", "running")
    assert (second["cpu"], second["memory_bytes"], second["disk_bytes"]) == (2, 2 * GIB, 5 * GIB)
    assert (second["owner_id"], second["template"]) == (first["owner_id"], first["template"])
    assert second["id"] != first["id"]
    assert second["addresses"] != first["addresses"]
    config = sandbox.config(second["vmid"])
    assert config["smbios1"] == f"uuid={second['id']}"
    assert config["description"] == f"jotunheim:server={second['id']}"
    assert config["name"] == "as-new-second"
    assert "tags" not in config
    assert "ipconfig1" not in config
    assert second["addresses"][0]["address"] in config["ipconfig0"]
    assert net(config)["virtio"] != net(before)["virtio"]
    assert sandbox.firewall(second["vmid"])["addresses"] == [second["addresses"][0]["address"]]
    # The guest's cloud-init got the new identity before it first started.
    user = sandbox.get(f"/nodes/pve1/qemu/{second['vmid']}/cloudinit/dump", type="user")
    assert "hostname: as-new-second" in user
    assert sandbox.get(f"/nodes/pve1/qemu/{second['vmid']}/cloudinit") is not None
    # The first one, and its backup, are as before.
    assert sandbox.config(first["vmid"]) == before
    assert sandbox.get("/nodes/pve1/storage/local/content", content="backup", vmid=first["vmid"]) == archives


def kept_backup(service: Service, name: str, **spec: Any) -> dict[str, Any]:
    """The backup of a server that is gone."""
    server = service.built(name, **spec)
    backup = made(service, server)
    service.done(f"servers/{server['id']}", method="DELETE")
    found: dict[str, Any] = service.read(f"backups/{backup['id']}")["backup"]
    assert found["server_id"] is None
    return found


def test_a_kept_backup_becomes_a_server_again_also_after_a_failure(
    service: Service, sandbox: Sandbox
) -> None:
    """A full storage: Proxmox VE leaves a VM without a mark, that a retry overwrites and a deletion removes."""
    backup = kept_backup(service, "as-new-gone", cpu=3, memory_bytes=GIB, disk_bytes=4 * GIB)
    sandbox.control.patch("/storages/vmstore", json={"other_used": 2**50}).raise_for_status()
    try:
        asked = [asked_anew(service, f"as-new-again-{number}", backup) for number in range(2)]
        jobs = [service.finished(one["job"]["id"]) for one in asked]
    finally:
        sandbox.control.patch("/storages/vmstore", json={"other_used": 0}).raise_for_status()
    for one, job in zip(asked, jobs, strict=True):
        assert (job["status"], job["error"]["code"]) == ("failed", "task_failed"), job
        assert service.server(one["server"]["id"])["status"] == "build_failed"
        assert "description" not in sandbox.config(one["server"]["vmid"])  # what Proxmox VE leaves
    again, gone = (one["server"] for one in asked)
    service.done(f"servers/{gone['id']}", method="DELETE")
    assert gone["vmid"] not in sandbox.vmids()
    assert service.finished(service.ask(f"jobs/{jobs[0]['id']}/retry")["job"]["id"])["status"] == "succeeded"
    server = service.server(again["id"])
    assert (server["status"], server["power"], server["template"]) == ("ready", "running", None)
    assert (server["cpu"], server["memory_bytes"], server["disk_bytes"]) == (3, GIB, 4 * GIB)
    assert sandbox.config(server["vmid"])["smbios1"] == f"uuid={server['id']}"
    assert service.read(f"backups/{backup['id']}")["backup"]["status"] == "ready"
    # A server like any other: it is backed up, and rebuilt from a template that somebody names.
    made(service, server)
    service.done(f"servers/{server['id']}/rebuild", {"template_id": service.ids["template"]})
    # Nothing needs the backup any more, and whoever would have needed it says so.
    fault = {
        "method": "POST",
        "path": "/qemu$",
        "status": 403,
        "message": "Permission check failed",
        "count": 1,
    }
    sandbox.control.post("/faults", json=fault).raise_for_status()
    late = asked_anew(service, "as-new-too-late", backup)
    job = service.finished(late["job"]["id"])
    assert (job["status"], job["error"]["code"]) == ("failed", "node_permission"), job
    service.done(f"backups/{backup['id']}", method="DELETE")
    job = service.finished(service.ask(f"jobs/{job['id']}/retry")["job"]["id"])
    assert (job["status"], job["error"]["code"]) == ("failed", "backup_not_found"), job
    service.done(f"servers/{late['server']['id']}", method="DELETE")


def test_a_backup_stays_until_the_server_is_built_or_cancelled(service: Service, sandbox: Sandbox) -> None:
    server = service.built("as-new-held")
    needed, free = made(service, server), made(service, server)
    path = f"servers/{server['id']}/backups/{needed['id']}"
    sandbox.control.patch("/settings", json={"time_scale": 1, "durations": {"restore": 3}}).raise_for_status()
    try:
        asked = asked_anew(service, "as-new-holding", needed)
        status, error = service.refused(path, method="DELETE")
        assert (status, error["code"]) == (409, "conflict")
        assert "as-new-holding" in error["message"]
        job = service.done(f"servers/{server['id']}", {"backups": "delete"}, "DELETE")
        assert job["result"] == {"backups_deleted": [free["volume"]], "backups_kept": [needed["volume"]]}
        status, error = service.refused(f"backups/{needed['id']}", method="DELETE")
        assert (status, error["code"]) == (409, "conflict")
        service.ask(f"jobs/{asked['job']['id']}/cancel", {})
    finally:
        sandbox.control.patch(
            "/settings", json={"time_scale": 0.05, "durations": {"restore": 1}}
        ).raise_for_status()
    assert service.finished(asked["job"]["id"])["status"] == "cancelled"
    assert service.refused(f"servers/{asked['server']['id']}", method="GET")[0] == 404
    assert asked["server"]["vmid"] not in sandbox.vmids()
    assert service.read(f"backups/{needed['id']}")["backup"]["status"] == "ready"
    service.done(f"backups/{needed['id']}", method="DELETE")


def test_what_does_not_fit_is_refused_by_name(service: Service) -> None:
    backup = made(service, service.built("as-new-fitting", disk_bytes=4 * GIB))
    for spec, field in (
        ({"backup_id": "00000000-0000-0000-0000-000000000001"}, "backup_id"),
        ({"template_id": service.ids["template"]}, "template_id"),
        ({"disk_bytes": 3 * GIB}, "disk_bytes"),
        ({"node_id": 999}, "node_id"),
        ({"location_id": 999}, "location_id"),
    ):
        body = {"name": "as-new-misfit", "backup_id": backup["id"], **spec}
        status, error = service.refused("servers", body)
        assert (status, [detail["field"] for detail in error["details"]]) == (422, [field]), error


def test_a_new_server_goes_where_its_backup_can_be_read(tmp_path: Path) -> None:
    with Cluster.start(tmp_path) as cluster:
        service, first = cluster.service, cluster.nodes["pve1"]
        server = cluster.built("as-new-here", node_id=first)
        local, shared = made(service, server), made(service, server, storage="shared")
        service.ask(f"nodes/{first}/drain", {})
        status, error = service.refused("servers", {"name": "no", "backup_id": local["id"]})
        assert (status, error["code"], error["details"][0]["field"]) == (409, "placement_error", "pve1")
        elsewhere = {"name": "no", "backup_id": local["id"], "node_id": cluster.nodes["pve2"]}
        status, error = service.refused("servers", elsewhere)
        assert (status, error["details"][0]["field"]) == (422, "node_id")

        asked = asked_anew(service, "as-new-there", shared)
        job = service.finished(asked["job"]["id"])
        assert job["status"] == "succeeded", job
        there = service.server(asked["server"]["id"])
        assert (there["node"]["name"], there["template"]["name"]) == ("pve2", "debian-pve2")
        config = cluster.sandbox.config(there["vmid"], "pve2")
        assert config["smbios1"] == f"uuid={there['id']}"
