"""VMs that somebody else has made become servers: they are marked, and nothing else of them changes."""

import json
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.cli.conftest import Run, Terminal, remote
from tests.cli.conftest import run as run  # a fixture
from tests.support.processes import wait_for
from tests.support.sandbox import Sandbox
from tests.support.service import Service

GIB = 2**30
NOTES = "Made by hand.\n{{ lookup('pipe', 'id') }}"


class Hand:
    """Makes VMs as somebody does who knows nothing of us."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.last = 5000

    def make(self, **config: Any) -> int:
        """A stopped VM with a system disk; returns its VMID."""
        self.last += 1
        vmid = self.last
        given = {"name": f"by-hand-{vmid}", "memory": 2048, "cores": 2, "scsi0": "vmstore:3", **config}
        given = {name: value for name, value in given.items() if value is not None}
        self.sandbox.api.post("/nodes/pve1/qemu", data={"vmid": vmid, **given}).raise_for_status()
        wait_for(lambda: "scsi0" in self.config(vmid) and "lock" not in self.config(vmid), "the VM")
        return vmid

    def config(self, vmid: int) -> dict[str, Any]:
        """The VM's configuration without what changes with every change; {} when there is none."""
        answer = self.sandbox.api.get(f"/nodes/pve1/qemu/{vmid}/config")
        config: dict[str, Any] = answer.json().get("data") or {}
        return {name: value for name, value in config.items() if name != "digest"}


@pytest.fixture(scope="module")
def hand(sandbox: Sandbox) -> Hand:
    """Somebody who makes VMs."""
    return Hand(sandbox)


def asked(service: Service, vmid: int, **more: Any) -> dict[str, Any]:
    """What the import of a VM is asked for with."""
    return {"node_id": service.ids["node"], "vmid": vmid, "confirm": True, **more}


def imported(service: Service, vmid: int, **more: Any) -> dict[str, Any]:
    """The server that a VM has become."""
    answer = service.ask("servers/import", asked(service, vmid, **more))
    job = service.finished(answer["job"]["id"])
    assert (job["type"], job["status"]) == ("server.import", "succeeded"), job
    return service.server(answer["server"]["id"])


def test_an_import_records_what_there_is_and_changes_only_the_notes(
    service: Service, sandbox: Sandbox, hand: Hand
) -> None:
    vmid = hand.make(
        description=NOTES,
        tags="legacy;web",
        sockets=2,
        net0="e1000,bridge=vmbr0,tag=7,firewall=1",
        smbios1="uuid=9E60E40F-a6f6-4eca-b680-8f3b1f0892aa,manufacturer=QUNNRQ==,base64=1",
        ide2="vmstore:cloudinit",
        ciuser="ops",
        ipconfig0="ip=10.99.1.190/24,gw=10.99.1.1",
        ipconfig1="ip=192.0.2.77/24",
        agent="enabled=1,fstrim_cloned_disks=1",
        boot="order=scsi0",
        onboot=0,
    )
    before = hand.config(vmid)
    since = sandbox.requests_logged()
    body = asked(service, vmid, labels={"from": "hand"}, external_id="legacy-1")
    preview = service.ask("servers/import", {**body, "confirm": False})
    job = service.finished(preview["job"]["id"])
    assert (job["check"], job["status"]) == (True, "succeeded")
    assert job["steps"][0]["diff"][0]["after"]["description"].endswith(NOTES)
    assert preview["server"]["id"] == "9e60e40f-a6f6-4eca-b680-8f3b1f0892aa"
    assert service.http.get(f"/admin/servers/{preview['server']['id']}").status_code == 404
    assert hand.config(vmid) == before

    server = imported(service, vmid, labels={"from": "hand"}, external_id="legacy-1")
    after = hand.config(vmid)
    assert after.pop("description") == f"jotunheim:server={server['id']}\n{before.pop('description')}"
    assert after == before
    changes = [entry for entry in sandbox.request_log(since) if entry["method"] != "GET"]
    assert [(entry["method"], entry["path"]) for entry in changes] == [
        ("PUT", f"/nodes/pve1/qemu/{vmid}/config")
    ]
    assert (server["id"], server["status"], server["power"]) == (preview["server"]["id"], "ready", "stopped")
    firewall = service.read(f"servers/{server['id']}/firewall")
    assert (firewall["recorded"], firewall["anti_spoofing"]) == (False, False)  # what it has by hand stays
    assert (server["name"], server["hostname"]) == (f"by-hand-{vmid}", f"by-hand-{vmid}")
    assert (server["cpu"], server["memory_bytes"], server["disk_bytes"]) == (4, 2 * GIB, 3 * GIB)
    assert (server["tags"], server["description"]) == (["legacy", "web"], NOTES)
    assert server["network"] == {"model": "e1000", "bridge": "vmbr0", "vlan": 7, "firewall": True}
    assert (server["cloud_init"], server["agent"]) == ({"user": "ops"}, True)
    assert (server["template"], server["imported"], server["protected"]) == (None, True, True)
    assert [address["address"] for address in server["addresses"]] == ["10.99.1.190"]
    [done] = [
        job
        for job in service.read(f"jobs?server_id={server['id']}")["jobs"]
        if job["type"] == "server.import"
    ]
    assert done["result"] == {
        "addresses_taken": ["10.99.1.190"],
        "addresses_left": [{"address": "192.0.2.77", "reason": "no pool of the node has it"}],
        "uuid_kept": True,
    }

    # It is a server now: it is not listed, it is changed as others are, and nobody deletes it by mistake.
    assert service.read(f"nodes/{service.ids['node']}/unmanaged?vmid={vmid}")["vms"] == []
    again = service.done(f"servers/{server['id']}/configure")
    assert not any(step["changed"] for step in again["steps"])
    service.done(f"servers/{server['id']}", {"cpu": 6}, "PATCH")
    assert (hand.config(vmid)["cores"], hand.config(vmid)["sockets"]) == (3, 2)
    status, error = service.refused(f"servers/{server['id']}/rebuild")
    assert (status, error["details"][0]["field"]) == (422, "template_id")
    status, error = service.refused(f"servers/{server['id']}", method="DELETE")
    assert (status, error["code"]) == (409, "protected")
    service.done(f"servers/{server['id']}/power", {"action": "start"})
    service.ask(f"servers/{server['id']}/protection", {"protected": False})
    service.done(f"servers/{server['id']}", method="DELETE")
    assert vmid not in sandbox.vmids()


def test_a_running_vm_keeps_running_and_can_be_rebuilt_from_a_template(
    service: Service, sandbox: Sandbox, hand: Hand
) -> None:
    vmid = hand.make(net0="virtio,bridge=vmbr0", ide2="vmstore:cloudinit", boot="order=scsi0", memory=1024)
    sandbox.api.post(f"/nodes/pve1/qemu/{vmid}/status/start").raise_for_status()
    wait_for(lambda: status_of(sandbox, vmid) == "running", "the VM to run")
    uptime = sandbox.get(f"/nodes/pve1/qemu/{vmid}/status/current")["uptime"]
    server = imported(service, vmid, name="was-by-hand")
    assert server["power"] == "running"
    assert sandbox.get(f"/nodes/pve1/qemu/{vmid}/status/current")["uptime"] >= uptime
    assert sandbox.get(f"/nodes/pve1/qemu/{vmid}/pending") == [
        row for row in sandbox.get(f"/nodes/pve1/qemu/{vmid}/pending") if "pending" not in row
    ]
    service.done(f"servers/{server['id']}/snapshots", {"name": "first"})
    service.done(f"servers/{server['id']}/snapshots/first/rollback")
    assert hand.config(vmid).get("ipconfig0") is None
    service.done(
        f"servers/{server['id']}/rebuild",
        {"template_id": service.ids["template"], "destroy_snapshots": True},
    )
    now = service.server(server["id"])
    assert (now["template"]["id"], now["imported"]) == (service.ids["template"], False)
    assert hand.config(vmid)["ipconfig0"] == "ip=dhcp"


def status_of(sandbox: Sandbox, vmid: int) -> str:
    """Whether a VM runs."""
    return str(sandbox.get(f"/nodes/pve1/qemu/{vmid}/status/current")["status"])


def test_candidates_are_listed_with_what_keeps_them_from_being_imported(
    service: Service, sandbox: Sandbox, hand: Hand
) -> None:
    path = f"nodes/{service.ids['node']}/unmanaged"
    ours = service.built("listed-nowhere", start=False)
    fine = hand.make(name="candidate-fine", memory=3072)
    locked = hand.make(name="candidate-locked")
    marked = hand.make(name="candidate-marked", description=f"jotunheim:server={uuid.uuid4()}\nx")
    copy = hand.make(name="candidate-copy", description=f"jotunheim:server={ours['id']}")
    template = hand.make(name="candidate-template")
    sandbox.control.patch(f"/vms/{locked}", json={"lock": "backup"}).raise_for_status()
    sandbox.api.post(f"/nodes/pve1/qemu/{template}/template").raise_for_status()
    wait_for(lambda: hand.config(template).get("template"), "the template")
    listed = service.read(f"{path}?name=CANDIDATE&sort=-vmid&per_page=3")
    assert [machine["vmid"] for machine in listed["vms"]] == [template, copy, marked]
    assert listed["meta"]["pagination"]["total_entries"] == 5
    reasons = {
        machine["vmid"]: machine["reasons"] for machine in service.read(f"{path}?name=candidate")["vms"]
    }
    assert reasons == {
        fine: [],
        locked: ["locked"],
        marked: ["marked"],
        copy: ["copy"],
        template: ["template"],
    }
    [found] = service.read(f"{path}?name=candidate&importable=true&sort=-memory_bytes")["vms"]
    assert (found["vmid"], found["kind"], found["status"]) == (fine, "vm", "stopped")
    assert (found["cpu"], found["memory_bytes"], found["disk_bytes"]) == (2, 3 * GIB, 3 * GIB)
    assert service.http.get(f"/admin/{path}?sort=reasons").status_code == 422
    assert service.http.get("/admin/nodes/999/unmanaged").status_code == 404
    assert ours["vmid"] not in {machine["vmid"] for machine in service.read(path)["vms"]}

    for vmid in (locked, marked, copy, template):
        before = hand.config(vmid)
        status, error = service.refused("servers/import", asked(service, vmid))
        assert (status, error["code"], error["details"][0]["field"]) == (409, "conflict", "vmid")
        assert hand.config(vmid) == before
    for vmid in (copy, template):
        assert service.refused("servers/import", asked(service, vmid, force=True))[0] == 409
    taken = imported(service, marked, force=True)
    assert hand.config(marked)["description"] == f"jotunheim:server={taken['id']}\nx"


def test_what_does_not_fit_is_said_at_once(service: Service, hand: Hand) -> None:
    vmid = hand.make()
    before = hand.config(vmid)
    status, error = service.refused("servers/import", asked(service, vmid, owner_id=99999, template_id=99999))
    assert status == 422
    assert {detail["field"] for detail in error["details"]} == {"owner_id", "template_id"}
    for body, field in (
        (asked(service, 4999), "vmid"),
        ({"node_id": 999, "vmid": vmid}, "node_id"),
        (asked(service, vmid, name="{{ x }}"), "name"),
        (asked(service, 99), "vmid"),
    ):
        status, error = service.refused("servers/import", body)
        assert (status, [detail["field"] for detail in error["details"]]) == (422, [field])
    server = service.built("has-this-name", start=False)
    status, error = service.refused("servers/import", asked(service, vmid, name="has-this-name"))
    assert (status, error["code"]) == (409, "uniqueness_error")
    status, error = service.refused("servers/import", asked(service, server["vmid"]))
    assert (status, error["details"][0]["message"]) == (409, f"is that of server {server['id']}")
    assert hand.config(vmid) == before


def test_a_copy_of_a_server_gets_an_identity_of_its_own(service: Service, hand: Hand) -> None:
    original = imported(service, hand.make(smbios1=f"uuid={uuid.uuid4()}"))
    vmid = hand.make(smbios1=f"uuid={original['id']},serial=U04=,base64=1")
    server = imported(service, vmid)
    assert server["id"] != original["id"]
    assert hand.config(vmid)["smbios1"] == f"uuid={server['id']},serial=U04=,base64=1"
    job = service.read(f"jobs?server_id={server['id']}")["jobs"][0]
    assert job["result"]["uuid_kept"] is False


def test_an_address_of_another_server_is_refused_and_a_reserved_one_left(
    service: Service, hand: Hand
) -> None:
    other = service.built("has-the-address", addresses={"ipv4": 1}, start=False)
    address = other["addresses"][0]["address"]
    vmid = hand.make(ipconfig0=f"ip={address}/24")
    status, error = service.refused("servers/import", asked(service, vmid))
    assert (status, error["details"][0]["message"]) == (409, f"{address} is server has-the-address's")
    path = f"address-pools/{service.ids['pool']}/addresses/10.99.1.180"
    service.ask(path, {"reserved_for": "legacy"}, "PATCH")
    server = imported(service, hand.make(ipconfig0="ip=10.99.1.180/24"))
    assert server["addresses"] == []
    job = service.read(f"jobs?server_id={server['id']}")["jobs"][0]
    assert job["result"]["addresses_left"] == [
        {"address": "10.99.1.180", "reason": "it is reserved for legacy"}
    ]
    service.ask(path, {"reserved_for": None}, "PATCH")


def test_of_ten_imports_at_once_one_gets_the_vm(service: Service, hand: Hand) -> None:
    vmid = hand.make(smbios1=f"uuid={uuid.uuid4()}")
    barrier = threading.Barrier(10)

    def post(number: int) -> tuple[int, str]:
        barrier.wait()
        answer = service.http.post("/admin/servers/import", json=asked(service, vmid, name=f"race-{number}"))
        return answer.status_code, answer.text

    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(post, range(10)))
    assert sorted(status for status, _ in answers) == [202] + [409] * 9
    [won] = [json.loads(text) for status, text in answers if status == 202]
    assert service.finished(won["job"]["id"])["status"] == "succeeded"
    assert hand.config(vmid)["description"] == f"jotunheim:server={won['server']['id']}"


def test_a_vm_that_goes_meanwhile_leaves_no_server(service: Service, sandbox: Sandbox, hand: Hand) -> None:
    vmid = hand.make()
    preview = service.ask("servers/import?check=true", asked(service, vmid))
    service.finished(preview["job"]["id"])
    since = service.read("jobs")["meta"]["pagination"]["total_entries"]
    # Read twice for the request itself; the job's reads come after the deletion.
    slow = {"method": "GET", "path": f"/qemu/{vmid}/config$", "delay": 2.0, "skip": 1}
    sandbox.control.post("/faults", json=slow).raise_for_status()
    answer = service.ask("servers/import", asked(service, vmid))
    sandbox.api.delete(f"/nodes/pve1/qemu/{vmid}").raise_for_status()
    job = service.finished(answer["job"]["id"])
    assert (job["status"], job["error"]["code"]) == ("failed", "vm_not_found")
    assert service.http.get(f"/admin/servers/{answer['server']['id']}").status_code == 404
    assert service.refused(f"jobs/{job['id']}/retry")[0] == 409
    assert service.refused(f"servers/import?plan={preview['job']['id']}")[0] in (409, 422)
    assert service.read("jobs")["meta"]["pagination"]["total_entries"] == since + 1


def test_a_failed_import_can_be_asked_for_again_also_when_the_vm_was_marked(
    service: Service, sandbox: Sandbox, hand: Hand
) -> None:
    vmid = hand.make(smbios1=f"uuid={uuid.uuid4()}")
    fault = {
        "method": "PUT",
        "path": f"/qemu/{vmid}/config$",
        "when": "after",
        "status": 500,
        "message": "no",
    }
    sandbox.control.post("/faults", json=fault).raise_for_status()
    answer = service.ask("servers/import", asked(service, vmid))
    assert service.finished(answer["job"]["id"])["status"] == "failed"
    assert hand.config(vmid)["description"].startswith("jotunheim:server=")
    assert service.http.get(f"/admin/servers/{answer['server']['id']}").status_code == 404
    assert imported(service, vmid)["id"] == answer["server"]["id"]


def test_an_import_is_cancelled_before_and_while_it_runs(
    service: Service, sandbox: Sandbox, hand: Hand
) -> None:
    vmid = hand.make(description="Kept", smbios1=f"uuid={uuid.uuid4()}")
    before = hand.config(vmid)
    slow = {"method": "PUT", "path": f"/qemu/{vmid}/config$", "delay": 1.5, "when": "after"}
    sandbox.control.post("/faults", json=slow).raise_for_status()
    answer = service.ask("servers/import", asked(service, vmid))
    wait_for(lambda: hand.config(vmid)["description"] != "Kept", "the mark")
    service.ask(f"jobs/{answer['job']['id']}/cancel")
    assert service.finished(answer["job"]["id"])["status"] == "cancelled"
    assert hand.config(vmid) == before
    assert service.http.get(f"/admin/servers/{answer['server']['id']}").status_code == 404
    imported(service, vmid)


def test_a_plan_imports_what_was_shown_or_is_refused(service: Service, sandbox: Sandbox, hand: Hand) -> None:
    vmid = hand.make(smbios1="uuid=00000000-0000-0000-0000-000000000000", ipconfig0="ip=10.99.1.170/24")
    body = asked(service, vmid, confirm=False)
    previews = [service.ask("servers/import", body) for _ in range(2)]
    for preview in previews:
        assert service.finished(preview["job"]["id"])["status"] == "succeeded"
    sandbox.control.patch(f"/vms/{vmid}", json={"config": {"memory": "1024"}}).raise_for_status()
    status, error = service.refused(f"servers/import?plan={previews[0]['job']['id']}")
    assert (status, [detail["field"] for detail in error["details"]]) == (409, ["config"])
    sandbox.control.patch(f"/vms/{vmid}", json={"config": {"memory": "2048"}}).raise_for_status()
    applied = service.ask(f"servers/import?plan={previews[1]['job']['id']}")
    assert service.finished(applied["job"]["id"])["status"] == "succeeded"
    server = service.server(applied["server"]["id"])
    assert server["id"] == previews[1]["server"]["id"]
    assert hand.config(vmid)["smbios1"] == f"uuid={server['id']}"
    assert [address["address"] for address in server["addresses"]] == ["10.99.1.170"]


def test_importing_on_the_command_line(service: Service, run: Run, hand: Hand) -> None:
    environment = remote(service)
    vmid = hand.make(name="typed")
    shown = run("node", "unmanaged", "pve1", "--name", "typed", "--importable", **environment)
    assert (str(vmid) in shown.out, shown.status) == (True, 0)
    arguments = ("server", "import", "--node", "pve1", "--vmid", str(vmid))
    assert run(*arguments, **environment).status == 2
    refused = run(*arguments, stdin=Terminal("n\n"), **environment)
    assert (refused.status, "Import typed (stopped), VM" in refused.err) == (1, True)
    previewed = run(*arguments, "--check", "--wait", **environment)
    assert previewed.status == 0, previewed.err
    assert "jotunheim:server=" in previewed.out
    assert "--plan" in previewed.out
    assert hand.config(vmid).get("description") is None
    done = run(*arguments, "--label", "a=b", "--yes", "--wait", "--json", **environment)
    assert done.status == 0, done.err
    assert (done.document["server"]["status"], done.document["server"]["labels"]) == ("ready", {"a": "b"})
    assert "none: imported" in run("server", "show", "typed", **environment).out
