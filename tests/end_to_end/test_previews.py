"""`?check=true`: the job tells what would change, nothing changes, and the real run then changes just that."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.sandbox import Sandbox
from tests.support.service import Service

GIB = 2**30
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJx0wqEEMq7wLr8XbJ3WYmHyZ8aQ9sYqv3nXhGm0Q4pB"


def world(service: Service, sandbox: Sandbox) -> Any:
    """All that must not change: the hypervisor's VMs and volumes, and our records but for jobs."""
    vms = [
        {key: vm[key] for key in ("vmid", "config", "pending", "status", "disks")}
        for vm in sandbox.control.get("/vms").json()
    ]
    volumes = sandbox.get("/nodes/pve1/storage/vmstore/content")
    servers = service.read("servers")["servers"]
    pools = service.read("address-pools")["address_pools"]
    firewalls = [sandbox.firewall(vm["vmid"]) for vm in vms]
    return vms, firewalls, volumes, [{**server, "job_id": None} for server in servers], pools


def differences(job: dict[str, Any]) -> list[Any]:
    """What the steps of a job say that they change, or would."""
    return [(step["name"], step["diff"]) for step in job["steps"] if step["changed"]]


CHANGES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "configure": ("PATCH", "", {"cpu": 3, "memory_bytes": 3 * GIB, "name": "seer-2", "addresses": {"ipv4": 2},
                                "disk_bytes": 6 * GIB, "ssh_keys": [KEY], "restart": "if_needed"}),
    "firewall": ("PUT", "/firewall", {"enabled": True, "policy_in": "DROP",
                                      "rules": [{"direction": "in", "action": "ACCEPT", "macro": "SSH"}]}),
    "password": ("POST", "/password", {"password": "a new password"}),
    "power": ("POST", "/power", {"action": "stop"}),
    "snapshot": ("POST", "/snapshots", {"name": "taken"}),
    "rollback": ("POST", "/snapshots/taken/rollback", {}),
    "snapshot delete": ("DELETE", "/snapshots/taken", {}),
    "suspend": ("POST", "/suspend", {"reason": "unpaid"}),
    "unsuspend": ("POST", "/unsuspend", {}),
    "rebuild": ("POST", "/rebuild", {"password": "another password"}),
    "delete": ("DELETE", "", {}),
}  # fmt: skip


@pytest.fixture(scope="module")
def server(service: Service) -> dict[str, Any]:
    """A running server; the changes follow each other on it."""
    return service.built("seer", addresses={"ipv4": 1}, disk_bytes=5 * GIB)


@pytest.mark.parametrize("what", CHANGES)
def test_a_preview_changes_nothing_and_tells_the_truth(
    service: Service, sandbox: Sandbox, server: dict[str, Any], what: str
) -> None:
    method, path, body = CHANGES[what]
    url = f"servers/{server['id']}{path}"
    before = world(service, sandbox)
    preview = service.done(f"{url}?check=true", body, method)
    assert preview["check"] is True
    assert world(service, sandbox) == before
    done = service.done(url, body, method)
    assert done["check"] is False
    assert differences(preview) == differences(done)
    assert differences(done)


def test_a_preview_of_a_server_reserves_nothing(service: Service, sandbox: Sandbox) -> None:
    spec = {
        "name": "imagined",
        "template_id": service.ids["template"],
        "addresses": {"ipv4": 1},
        "disk_bytes": 5 * GIB,
        "cpu": 2,
    }
    before = world(service, sandbox)
    answer = service.ask("servers?check=true", spec)
    assert answer["root_password"] is None
    assert answer["server"]["addresses"]
    preview = service.finished(answer["job"]["id"])
    assert preview["status"] == "succeeded", preview
    assert world(service, sandbox) == before
    assert service.http.get(f"/admin/servers/{answer['server']['id']}").status_code == 404
    created = service.ask("servers", spec)
    done = service.finished(created["job"]["id"])
    unlike: Callable[[Any], str] = lambda found: (  # noqa: E731 - only the server's id differs
        str(found).replace(answer["server"]["id"], "ID").replace(created["server"]["id"], "ID")
    )
    assert unlike(differences(preview)) == unlike(differences(done))


def test_a_preview_that_cannot_be_is_refused_like_the_request(service: Service) -> None:
    server = service.built("unlikely", start=False, protected=True)
    path = f"servers/{server['id']}"
    assert service.refused(f"{path}?check=true", method="DELETE")[0] == 409
    assert service.refused(f"{path}/snapshots/absent/rollback?check=true")[0] == 404
    assert service.refused(f"{path}?check=maybe", {"cpu": 2}, "PATCH")[0] == 422
