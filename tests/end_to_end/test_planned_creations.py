"""Plans of servers that are still to be made."""

from tests.end_to_end.planning import asleep, details, pve, world
from tests.end_to_end.test_previews import CHANGES, GIB, differences
from tests.support.sandbox import Sandbox
from tests.support.service import Service

SPEC = {"addresses": {"ipv4": 2}, "disk_bytes": 5 * GIB, "cpu": 2}


def test_a_planned_creation_makes_just_the_server_that_was_shown(service: Service) -> None:
    spec = {"name": "foretold", "template_id": service.ids["template"], **SPEC}
    shown = service.ask("servers?check=true", spec)
    preview = service.finished(shown["job"]["id"])
    made = service.ask(f"servers?plan={preview['id']}")
    assert made["root_password"]
    for field in ("id", "vmid", "name", "addresses", "node", "template", "cpu", "disk_bytes", "owner_id"):
        assert made["server"][field] == shown["server"][field], field
    done = service.finished(made["job"]["id"])
    assert done["status"] == "succeeded", done
    assert differences(done) == differences(preview)
    status, error = service.refused(f"servers?plan={preview['id']}")
    assert (status, details(error)) == (409, {"job_id"})


def test_a_planned_creation_takes_what_was_shown_though_other_things_would_be_chosen_now(
    service: Service,
) -> None:
    lower = service.built("lower", start=False, addresses={"ipv4": 1})
    spec = {"name": "upper", "template_id": service.ids["template"], "start": False, "addresses": {"ipv4": 1}}
    shown = service.ask("servers?check=true", spec)
    preview = service.finished(shown["job"]["id"])
    service.done(f"servers/{lower['id']}", method="DELETE")
    elsewhere = service.ask("servers?check=true", {**spec, "name": "elsewhere"})["server"]
    assert elsewhere["vmid"] < shown["server"]["vmid"]
    assert elsewhere["addresses"] != shown["server"]["addresses"]
    made = service.ask(f"servers?plan={preview['id']}", spec)
    assert made["server"]["vmid"] == shown["server"]["vmid"]
    assert made["server"]["addresses"] == shown["server"]["addresses"]
    assert service.finished(made["job"]["id"])["status"] == "succeeded"


def test_a_planned_creation_fails_when_its_vmid_is_taken_on_the_node(
    service: Service, sandbox: Sandbox
) -> None:
    spec = {"name": "squatted", "template_id": service.ids["template"], "addresses": {"ipv4": 1}}
    shown = service.ask("servers?check=true", spec)
    preview, vmid = service.finished(shown["job"]["id"]), shown["server"]["vmid"]
    planned = f"servers?plan={preview['id']}"
    pve(sandbox, "POST", "/nodes/pve1/qemu", vmid=vmid, name="squatter")
    status, error = service.refused(planned)
    assert (status, details(error)) == (409, {"vmid"})
    pve(sandbox, "DELETE", f"/nodes/pve1/qemu/{vmid}")
    with asleep(service):
        made = service.ask(planned)
        pve(sandbox, "POST", "/nodes/pve1/qemu", vmid=vmid, name="squatter")
        before = world(sandbox)
    job = service.finished(made["job"]["id"])
    assert (job["status"], job["error"]["code"]) == ("failed", "plan_outdated"), job
    assert "Delete the server" in job["error"]["hint"]
    assert world(sandbox) == before
    assert service.server(made["server"]["id"])["status"] == "build_failed"
    pve(sandbox, "DELETE", f"/nodes/pve1/qemu/{vmid}")
    service.done(f"servers/{made['server']['id']}", method="DELETE")


def test_a_creation_is_refused_when_what_it_would_take_has_gone(service: Service) -> None:
    taker = service.built("taker", start=False)
    spec = {"name": "late", "template_id": service.ids["template"], "start": False, "addresses": {"ipv4": 1}}
    shown = service.ask("servers?check=true", spec)
    preview = service.finished(shown["job"]["id"])
    service.done(f"servers/{taker['id']}", {"addresses": {"ipv4": 1}}, "PATCH")
    assert service.server(taker["id"])["addresses"] == shown["server"]["addresses"]
    status, error = service.refused(f"servers?plan={preview['id']}")
    assert (status, details(error)) == (409, {"addresses"})
    service.done(f"servers/{taker['id']}", {"addresses": {"ipv4": 0}}, "PATCH")
    quick = service.create_server("quick", start=False)
    assert quick["server"]["vmid"] == shown["server"]["vmid"]
    status, error = service.refused(f"servers?plan={preview['id']}")
    assert (status, details(error)) == (409, {"vmid"})
    service.finished(quick["job"]["id"])


def test_a_creation_has_a_password_when_its_preview_has_shown_one(service: Service) -> None:
    key = CHANGES["configure"][2]["ssh_keys"]
    spec = {"name": "keyed", "template_id": service.ids["template"], "start": False, "ssh_keys": key}
    with_password = service.finished(
        service.ask("servers?check=true", {**spec, "password": "a secret of mine"})["job"]["id"]
    )
    without = service.finished(service.ask("servers?check=true", spec)["job"]["id"])
    status, error = service.refused(f"servers?plan={without['id']}", {"password": "a secret of mine"})
    assert (status, details(error)) == (409, {"password"})
    made = service.ask(f"servers?plan={with_password['id']}", spec)
    assert made["root_password"]
    assert differences(service.finished(made["job"]["id"])) == differences(with_password)
