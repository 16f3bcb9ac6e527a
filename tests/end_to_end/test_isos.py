"""ISO images: which a server can be given, and when it has one."""

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

IMAGES = ("debian-12.iso", "rescue.iso", "windows.img")


@pytest.fixture(scope="module", autouse=True)
def images(sandbox: Sandbox) -> None:
    """Images on the node's storage, and one on another storage."""
    for name in IMAGES:
        sandbox.upload_image(name)
    wait_for(lambda: len(listed(sandbox)) >= len(IMAGES), "the images")


@pytest.fixture(scope="module")
def server(service: Service) -> dict[str, Any]:
    """A running server."""
    return service.built("with-drive")


@pytest.fixture(scope="module")
def owner(service: Service) -> Iterator[tuple[int, httpx.Client]]:
    """A user who is no administrator: id, and a client with their token."""
    email = "owner@isos.example.com"
    user = command(service, "user", "create", "--email", email, "--name", "O", "--role", "client")
    scopes = ("--scope", "servers:read", "--scope", "servers:write")
    token = command(service, "token", "create", "--user", email, "--name", "t", *scopes)
    with plain_http.Client(
        base_url=service.http.base_url, headers={"Authorization": f"Bearer {token['secret']}"}, timeout=30
    ) as http:
        yield user["user"]["id"], http


def listed(sandbox: Sandbox) -> list[str]:
    """The images that the node has."""
    return [entry["volid"] for entry in sandbox.get("/nodes/pve1/storage/local/content", content="iso")]


def drive(sandbox: Sandbox, server: dict[str, Any]) -> str | None:
    """What is in the drive that a running server really has."""
    found = sandbox.get(f"/nodes/pve1/qemu/{server['vmid']}/pending")
    values = {row["key"]: row.get("value") for row in found}
    text = values.get("ide0")
    return text.split(",")[0] if text else None


def test_the_images_of_the_servers_node_are_listed(service: Service, server: dict[str, Any]) -> None:
    answer = service.read(f"servers/{server['id']}/isos?sort=-name&per_page=2")
    assert [image["name"] for image in answer["isos"]] == ["windows.img", "rescue.iso"]
    assert answer["meta"]["pagination"]["total_entries"] == len(IMAGES)
    [found] = service.read(f"servers/{server['id']}/isos?name=DEBIAN")["isos"]
    assert (found["volume"], found["size_bytes"]) == ("local:iso/debian-12.iso", 2048)
    assert service.http.get(f"/admin/servers/{server['id']}/isos?sort=path").status_code == 422


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": "rescue.iso", "volume": "local:iso/rescue.iso"}, "name"),
        ({"name": "absent.iso"}, "name"),
        ({"name": "../rescue.iso"}, "name"),
        ({"name": "{{ lookup('pipe', 'id') }}.iso"}, "name"),
        ({"name": "rescue.iso,media=disk"}, "name"),
        ({"volume": "shared:iso/rescue.iso"}, "volume"),
        ({"volume": "local:iso/../../../etc/passwd"}, "volume"),
        ({"volume": "/etc/passwd"}, "volume"),
        ({"volume": "vmstore:9000/base-9000-disk-0.qcow2"}, "volume"),
        ({"volume": "local:iso/rescue.iso,media=disk"}, "volume"),
        ({"volume": "cdrom"}, "volume"),
    ],
)
def test_nothing_else_is_mounted(
    service: Service, sandbox: Sandbox, server: dict[str, Any], body: dict[str, Any], field: str
) -> None:
    before = sandbox.config(server["vmid"])
    status, error = service.refused(f"servers/{server['id']}/iso", body)
    assert (status, [detail["field"] for detail in error["details"]]) == (422, [field])
    assert sandbox.config(server["vmid"]) == before


def test_a_running_server_gets_a_drive_with_a_restart_and_images_at_once(
    service: Service, sandbox: Sandbox, server: dict[str, Any]
) -> None:
    path = f"servers/{server['id']}/iso"
    before = sandbox.config(server["vmid"])
    preview = service.ask(f"{path}?check=true", {"name": "debian-12.iso", "restart": "if_needed"})
    previewed = service.finished(preview["job"]["id"])
    assert previewed["result"] == {"fields": {"iso": "applied"}, "restarted": True}
    assert previewed["steps"][0]["diff"][0]["after"]["ide0"] == "local:iso/debian-12.iso"
    assert (sandbox.config(server["vmid"]), service.server(server["id"])["iso"]) == (before, None)

    job = service.done(path, {"name": "debian-12.iso"})
    assert job["result"] == {"fields": {"iso": "pending"}, "restarted": False}
    assert drive(sandbox, server) is None
    job = service.done(path, {"volume": "local:iso/debian-12.iso", "restart": "if_needed"})
    assert job["result"] == {"fields": {"iso": "applied"}, "restarted": True}
    assert drive(sandbox, server) == "local:iso/debian-12.iso"
    assert sandbox.config(server["vmid"])["boot"] == "order=scsi0;ide0"

    job = service.done(path, {"name": "rescue.iso"})
    assert job["result"] == {"fields": {"iso": "applied"}, "restarted": False}
    assert drive(sandbox, server) == "local:iso/rescue.iso"
    assert service.server(server["id"])["iso"] == {"name": "rescue.iso", "volume": "local:iso/rescue.iso"}
    for again in (
        service.done(path, {"name": "rescue.iso"}),
        service.done(f"servers/{server['id']}/configure"),
    ):
        assert not any(step["changed"] for step in again["steps"])

    job = service.done(path, method="DELETE")
    assert (job["result"]["fields"], drive(sandbox, server)) == ({"iso": "applied"}, "none")
    assert service.server(server["id"])["iso"] is None
    assert not any(step["changed"] for step in service.done(path, method="DELETE")["steps"])


def test_a_failed_mount_is_not_recorded_and_a_retry_does_it(
    service: Service, sandbox: Sandbox, server: dict[str, Any]
) -> None:
    fault = {
        "method": "PUT",
        "path": f"/{server['vmid']}/config$",
        "status": 500,
        "message": "no",
        "count": 1,
    }
    sandbox.control.post("/faults", json=fault).raise_for_status()
    asked = service.ask(f"servers/{server['id']}/iso", {"name": "rescue.iso"})
    assert asked["server"]["iso"]["name"] == "rescue.iso"
    assert service.finished(asked["job"]["id"])["status"] == "failed"
    assert service.server(server["id"])["iso"] is None
    service.done(f"jobs/{asked['job']['id']}/retry")
    assert service.server(server["id"])["iso"]["name"] == "rescue.iso"
    assert drive(sandbox, server) == "local:iso/rescue.iso"


def test_an_image_that_goes_before_its_job_runs_fails_it(service: Service, sandbox: Sandbox) -> None:
    server = service.built("no-image", start=False)
    sandbox.upload_image("short-lived.iso")
    wait_for(lambda: "local:iso/short-lived.iso" in listed(sandbox), "the image")
    sandbox.control.post(
        "/faults", json={"method": "GET", "path": f"/{server['vmid']}/config$", "delay": 1.5}
    ).raise_for_status()
    asked = service.ask(f"servers/{server['id']}/iso", {"name": "short-lived.iso"})
    sandbox.api.delete("/nodes/pve1/storage/local/content/local:iso/short-lived.iso").raise_for_status()
    job = service.finished(asked["job"]["id"])
    assert (job["status"], job["error"]["code"]) == ("failed", "node_not_found")
    assert "short-lived.iso" in job["error"]["message"]
    assert service.server(server["id"])["iso"] is None


def test_a_server_with_an_image_goes_back_is_rebuilt_and_deleted(service: Service, sandbox: Sandbox) -> None:
    server = service.built("drive-stays", start=False)
    path = f"servers/{server['id']}"
    service.done(f"{path}/snapshots", {"name": "empty"})
    service.done(f"{path}/iso", {"name": "rescue.iso"})
    service.done(f"{path}/snapshots", {"name": "mounted"})
    service.done(f"{path}/snapshots/empty/rollback")
    assert sandbox.config(server["vmid"])["ide0"].startswith("local:iso/rescue.iso,")
    service.done(f"{path}/iso", method="DELETE")
    service.done(f"{path}/snapshots/mounted/rollback")
    assert sandbox.config(server["vmid"])["ide0"] == "none,media=cdrom"
    service.done(f"{path}/iso", {"name": "rescue.iso"})
    service.done(f"{path}/rebuild", {"destroy_snapshots": True})
    assert sandbox.config(server["vmid"])["ide0"].startswith("local:iso/rescue.iso,")
    service.done(path, method="DELETE")
    assert server["vmid"] not in sandbox.vmids()
    assert "local:iso/rescue.iso" in listed(sandbox)


def test_owners_mount_images_and_learn_nothing_of_storages(
    service: Service, sandbox: Sandbox, owner: tuple[int, httpx.Client], server: dict[str, Any]
) -> None:
    owner_id, http = owner
    mine = service.built("owners-drive", owner_id=owner_id, start=False)
    path = f"/client/servers/{mine['id']}"
    shown = http.get(f"{path}/isos").json()["isos"]
    assert {frozenset(image) for image in shown} == {frozenset({"name", "size_bytes", "created_at"})}
    answer = http.post(f"{path}/iso", json={"name": "rescue.iso"})
    service.finished(answer.json()["job"]["id"])
    assert http.get(path).json()["server"]["iso"] == {"name": "rescue.iso"}
    assert sandbox.config(mine["vmid"])["ide0"].startswith("local:iso/rescue.iso,")
    fault = {"path": "/content$", "status": 595, "empty": True, "count": None}
    sandbox.control.post("/faults", json=fault).raise_for_status()
    try:
        silent = http.get(f"{path}/isos")
    finally:
        sandbox.control.delete("/faults").raise_for_status()
    assert (silent.status_code, "pve1" in silent.text) == (503, False)
    for method, what in (("GET", "isos"), ("POST", "iso"), ("DELETE", "iso")):
        body = {"name": "rescue.iso"} if method == "POST" else None
        assert http.request(method, f"/client/servers/{server['id']}/{what}", json=body).status_code == 404
    service.finished(http.delete(f"{path}/iso").json()["job"]["id"])
    assert http.get(path).json()["server"]["iso"] is None


def test_images_on_the_command_line(service: Service, run: Run, server: dict[str, Any]) -> None:
    environment = remote(service)
    shown = run("iso", "list", "with-drive", "--name", "rescue", **environment)
    assert "local:iso/rescue.iso" in shown.out
    mounted = run("iso", "mount", "with-drive", "debian-12.iso", "--wait", **environment)
    assert mounted.status == 0, mounted.err
    assert "The drive: applied" in mounted.out
    assert (
        run("server", "show", "with-drive", "--json", **environment).document["server"]["iso"]["name"]
        == "debian-12.iso"
    )
    refused = run("iso", "mount", "with-drive", "local:iso/absent.iso", **environment)
    assert (refused.status, "VOLUME" in refused.err) == (1, True)
    assert run("iso", "unmount", "with-drive", "--wait", **environment).status == 0
