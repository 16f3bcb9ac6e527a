"""Changing a server that exists: what is applied, what waits, and what is recorded."""

from typing import Any

import pytest

from tests.support.sandbox import Sandbox
from tests.support.service import Service

GIB = 2**30
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJx0wqEEMq7wLr8XbJ3WYmHyZ8aQ9sYqv3nXhGm0Q4pB"


def patched(service: Service, server: dict[str, Any], **change: Any) -> dict[str, Any]:
    """The job of a change that must succeed."""
    return service.done(f"servers/{server['id']}", change, "PATCH")


def test_a_change_reaches_the_vm_and_says_what_waits_for_a_restart(
    service: Service, sandbox: Sandbox
) -> None:
    server = service.built("changes", addresses={"ipv4": 1})
    job = patched(
        service,
        server,
        cpu=3,
        memory_bytes=3 * GIB,
        disk_bytes=6 * GIB,
        tags=["blue"],
        description="The second\nline",
        ssh_keys=[KEY],
        network={"vlan": 12, "rate_bytes_per_second": 2**20, "firewall": True},
        cloud_init={"nameservers": ["9.9.9.9"]},
    )
    fields = job["result"]["fields"]
    assert fields["tags"] == fields["description"] == fields["disk_bytes"] == fields["network"] == "applied"
    assert fields["memory_bytes"] == fields["cpu"] == "pending"
    assert fields["ssh_keys"] == fields["cloud_init"] == "needs_restart"
    assert job["result"]["restarted"] is False
    now = service.server(server["id"])
    assert (now["cpu"], now["memory_bytes"], now["disk_bytes"]) == (3, 3 * GIB, 6 * GIB)
    assert (now["tags"], now["description"], now["ssh_keys"]) == (["blue"], "The second\nline", [KEY])
    assert now["network"] == {"vlan": 12, "rate_bytes_per_second": 2**20, "firewall": True}
    config = sandbox.config(server["vmid"])
    assert "tag=12" in config["net0"]
    assert "rate=1" in config["net0"]
    assert config["nameserver"] == "9.9.9.9"
    assert config["description"].endswith("The second\nline")

    fault = {"method": "POST", "path": "/status/reboot$", "status": 500, "message": "no", "count": 1}
    sandbox.control.post("/faults", json=fault).raise_for_status()
    change = {"cpu": 4, "restart": "if_needed"}
    failed = service.finished(service.ask(f"servers/{server['id']}", change, "PATCH")["job"]["id"])
    assert failed["status"] == "failed"
    assert service.server(server["id"])["cpu"] == sandbox.config(server["vmid"])["cores"] == 4

    job = patched(service, server, cpu=4, restart="if_needed")
    assert job["result"] == {"fields": {"cpu": "applied"}, "restarted": True}
    running = sandbox.get(f"/nodes/pve1/qemu/{server['vmid']}/status/current")
    assert (running["status"], running["maxmem"]) == ("running", 3 * GIB)


def test_the_same_change_again_changes_nothing(service: Service) -> None:
    server = service.built("again", start=False)
    change = {"cpu": 2, "description": "x", "network": {"vlan": 5}}
    assert any(step["changed"] for step in patched(service, server, **change)["steps"])
    assert not any(step["changed"] for step in patched(service, server, **change)["steps"])
    everything = service.done(f"servers/{server['id']}/configure")
    assert not any(step["changed"] for step in everything["steps"])


def test_a_disk_never_shrinks_and_nothing_else_of_the_request_happens(
    service: Service, sandbox: Sandbox
) -> None:
    server = service.built("shrinks", disk_bytes=5 * GIB, start=False)
    before = sandbox.config(server["vmid"])
    status, error = service.refused(f"servers/{server['id']}", {"disk_bytes": 4 * GIB, "cpu": 2}, "PATCH")
    assert (status, error["code"]) == (422, "invalid_input")
    assert [detail["field"] for detail in error["details"]] == ["disk_bytes"]
    assert "cannot shrink" in error["details"][0]["message"]
    assert sandbox.config(server["vmid"]) == before
    assert service.server(server["id"])["cpu"] == 1


def test_addresses_are_taken_and_given_back(service: Service, sandbox: Sandbox) -> None:
    server = service.built("addressed", addresses={"ipv4": 1}, start=False)
    free = service.read("address-pools")["address_pools"][0]["free"]
    patched(service, server, addresses={"ipv4": 3})
    now = service.server(server["id"])
    assert len(now["addresses"]) == 3
    assert now["addresses"][0] == server["addresses"][0]
    assert service.read("address-pools")["address_pools"][0]["free"] == free - 2
    patched(service, server, addresses={"ipv4": 0})
    assert service.server(server["id"])["addresses"] == []
    assert service.read("address-pools")["address_pools"][0]["free"] == free + 1
    assert sandbox.config(server["vmid"])["ipconfig0"] == "ip=dhcp"


def test_what_only_the_records_hold_changes_at_once_even_while_a_job_runs(service: Service) -> None:
    created = service.create_server("recorded", start=False)
    path = f"servers/{created['server']['id']}"
    answer = service.ask(
        path,
        {
            "labels": {"a": "b"},
            "external_id": "order-99",
            "limits": {"snapshots": 7},
            "protected": True,
            "expires_in_seconds": 3600,
        },
        "PATCH",
    )
    assert answer["job"] is None
    server = answer["server"]
    assert (server["labels"], server["external_id"], server["protected"]) == ({"a": "b"}, "order-99", True)
    assert server["limits"]["snapshots"] == 7
    assert server["limits"]["backups"] == 2
    assert server["expires_at"] is not None
    assert service.ask(path, {"expires_in_seconds": None}, "PATCH")["server"]["expires_at"] is None
    service.finished(created["job"]["id"])


def test_a_failed_change_is_not_recorded_and_can_be_retried(service: Service, sandbox: Sandbox) -> None:
    server = service.built("fails", start=False, addresses={"ipv4": 1})
    fault = {"method": "PUT", "path": f"/qemu/{server['vmid']}/config$", "status": 500, "message": "no space"}
    sandbox.control.post("/faults", json={**fault, "count": 1}).raise_for_status()
    change = {"name": "renamed", "cpu": 2, "addresses": {"ipv4": 2}}
    job = service.finished(service.ask(f"servers/{server['id']}", change, "PATCH")["job"]["id"])
    assert job["status"] == "failed"
    after = service.server(server["id"])
    assert (after["name"], after["hostname"], after["cpu"]) == ("fails", "fails", 1)
    assert after["addresses"] == server["addresses"]
    job = service.done(f"jobs/{job['id']}/retry")
    after = service.server(server["id"])
    assert (after["name"], after["hostname"], after["cpu"]) == ("renamed", "renamed", 2)
    assert len(after["addresses"]) == 2
    assert sandbox.config(server["vmid"])["name"] == "renamed"


def test_a_name_of_the_owners_other_server_is_refused(service: Service) -> None:
    service.built("taken-name", start=False)
    server = service.built("free-name", start=False)
    status, error = service.refused(f"servers/{server['id']}", {"name": "taken-name"}, "PATCH")
    assert (status, error["code"]) == (409, "uniqueness_error")


def test_a_template_as_a_value_stays_text(service: Service, sandbox: Sandbox) -> None:
    server = service.built("inert", start=False)
    notes = "{{ lookup('pipe', 'id') }} {% raw %}"
    patched(service, server, description=notes)
    assert sandbox.config(server["vmid"])["description"].endswith(notes)


def test_mtu_and_options_that_nobody_named_stay(service: Service, sandbox: Sandbox) -> None:
    server = service.built("kept-options", start=False)
    device = sandbox.config(server["vmid"])["net0"] + ",mtu=1400,queues=2"
    sandbox.api.put(f"/nodes/pve1/qemu/{server['vmid']}/config", data={"net0": device}).raise_for_status()
    patched(service, server, network={"vlan": 9})
    config = sandbox.config(server["vmid"])["net0"]
    assert {"mtu=1400", "queues=2", "tag=9", device.split(",")[0]} <= set(config.split(","))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"cpu": 0}, "cpu"),
        ({"cpu": None}, "cpu"),
        ({"nonsense": 1}, "nonsense"),
        ({"network": {"vlan": 5000}}, "network.vlan"),
        ({"network": {"bridge": "vmbr0,firewall=0"}}, "network.bridge"),
        ({"cloud_init": {"nameservers": ["x"]}}, "cloud_init.nameservers.0"),
        ({"cloud_init": {"user": "root:x"}}, "cloud_init.user"),
        ({"boot_order": ["scsi0;rm"]}, "boot_order.0"),
        ({"description": "a\njotunheim:server=1"}, "description"),
        ({"description": "a\x00b"}, "description"),
        ({"restart": "always"}, "restart"),
        ({"ssh_keys": ["ssh-ed25519 x"]}, "ssh_keys.0"),
    ],
)
def test_a_bad_field_is_named(service: Service, change: dict[str, Any], field: str) -> None:
    path = "servers/00000000-0000-4000-8000-000000000000"
    status, error = service.refused(path, change, "PATCH")
    assert (status, error["code"]) == (422, "invalid_input")
    assert [detail["field"] for detail in error["details"]] == [field]


def test_a_device_that_the_vm_lacks_is_no_boot_device(service: Service) -> None:
    server = service.built("boots", start=False)
    path = f"servers/{server['id']}"
    job = service.finished(service.ask(path, {"boot_order": ["scsi7"]}, "PATCH")["job"]["id"])
    assert job["status"] == "failed"
    assert "boot_order" in job["error"]["message"]
    patched(service, server, boot_order=["net0", "scsi0"])
    assert service.server(server["id"])["boot_order"] == ["net0", "scsi0"]


def test_a_change_of_an_older_version_is_refused(service: Service) -> None:
    server = service.built("versioned", start=False)
    path = f"/admin/servers/{server['id']}"
    etag = service.http.get(path).headers["etag"]
    first = service.http.patch(path, json={"labels": {"a": "1"}}, headers={"If-Match": etag})
    assert first.status_code == 200
    second = service.http.patch(path, json={"labels": {"a": "2"}}, headers={"If-Match": etag})
    assert (second.status_code, second.json()["error"]["code"]) == (412, "precondition_failed")
    current = {"If-Match": first.headers["etag"]}
    assert service.http.patch(path, json={"labels": {"a": "2"}}, headers=current).status_code == 200
    late = service.http.delete(path, headers=current)
    assert (late.status_code, late.json()["error"]["code"]) == (412, "precondition_failed")
