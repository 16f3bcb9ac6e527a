"""Firewalls of servers: anti-spoofing that follows the addresses, rules of owners and operators, rulesets."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.end_to_end.test_client_api import command
from tests.support import plain_http
from tests.support.sandbox import Sandbox
from tests.support.service import Service

PROTECTED = {"enable": 1, "macfilter": 1, "ipfilter": 1, "policy_in": "ACCEPT", "policy_out": "ACCEPT"}
SSH = {"direction": "in", "action": "ACCEPT", "protocol": "tcp", "destination_port": "22"}
IN_PVE = {"type": "in", "action": "ACCEPT", "enable": 1, "proto": "tcp", "dport": "22"}


@pytest.fixture(scope="module")
def owner(service: Service) -> Iterator[tuple[int, httpx.Client]]:
    """A user who is no administrator: id, and a client with their token."""
    email = "walls@example.com"
    user = command(service, "user", "create", "--email", email, "--name", "W", "--role", "client")
    token = command(
        service, "token", "create", "--user", email, "--name", "t", "--scope", "servers:read",
        "--scope", "servers:write",
    )  # fmt: skip
    headers = {"Authorization": f"Bearer {token['secret']}"}
    with plain_http.Client(base_url=service.http.base_url, headers=headers, timeout=30) as http:
        yield user["user"]["id"], http


@pytest.fixture(scope="module")
def server(service: Service, owner: tuple[int, httpx.Client]) -> dict[str, Any]:
    """The owner's server, with an address."""
    return service.built("walled", owner_id=owner[0], addresses={"ipv4": 1}, start=False)


def addresses_of(service: Service, server: dict[str, Any]) -> list[str]:
    return sorted(address["address"] for address in service.server(server["id"])["addresses"])


def pve(sandbox: Sandbox, server: dict[str, Any], method: str, path: str, **data: Any) -> None:
    """Somebody does something to the VM's firewall by hand."""
    url = f"/nodes/pve1/qemu/{server['vmid']}/firewall/{path}"
    sandbox.api.request(method, url, data=data or None).raise_for_status()


def wall(service: Service, server: dict[str, Any], **wanted: Any) -> dict[str, Any]:
    """The job of a firewall that must be set."""
    return service.done(f"servers/{server['id']}/firewall", wanted, "PUT")


def test_a_server_can_only_send_from_its_own_addresses_and_these_are_kept_right(
    service: Service, sandbox: Sandbox, server: dict[str, Any]
) -> None:
    id_, vmid = server["id"], server["vmid"]
    assert server["anti_spoofing"] is True
    assert "firewall=1" in sandbox.config(vmid)["net0"]
    built = {"options": PROTECTED, "rules": [], "addresses": addresses_of(service, server)}
    assert sandbox.firewall(vmid) == built
    assert len(built["addresses"]) == 1

    service.done(f"servers/{id_}", {"addresses": {"ipv4": 3}}, "PATCH")
    three = addresses_of(service, server)
    assert sandbox.firewall(vmid)["addresses"] == three
    assert len(three) == 3
    service.done(f"servers/{id_}", {"addresses": {"ipv4": 2}}, "PATCH")
    two = addresses_of(service, server)
    assert sandbox.firewall(vmid)["addresses"] == two

    # By hand: another address, one of ours excluded, filters off, a rule, the device past the firewall.
    pve(sandbox, server, "POST", "ipset/ipfilter-net0", cidr="203.0.113.0/24")
    pve(sandbox, server, "DELETE", f"ipset/ipfilter-net0/{two[0]}")
    pve(sandbox, server, "POST", "ipset/ipfilter-net0", cidr=two[0], nomatch=1)
    pve(sandbox, server, "PUT", "options", macfilter=0, ipfilter=0, policy_in="DROP")
    pve(sandbox, server, "POST", "rules", type="in", action="ACCEPT", enable=1, comment="by hand")
    net0 = sandbox.config(vmid)["net0"].replace(",firewall=1", "")
    sandbox.api.put(f"/nodes/pve1/qemu/{vmid}/config", data={"net0": net0}).raise_for_status()
    drifted = sandbox.firewall(vmid)
    preview = service.done(f"servers/{id_}/configure?check=true")
    assert sandbox.firewall(vmid) == drifted
    real = service.done(f"servers/{id_}/configure")
    assert [step["diff"] for step in preview["steps"]] == [step["diff"] for step in real["steps"]]
    [diff] = [step["diff"] for step in real["steps"] if step["name"] == "Set the firewall"]
    assert "in ACCEPT # by hand" in str(diff)
    assert sandbox.firewall(vmid) == built | {"addresses": two}
    assert "firewall=1" in sandbox.config(vmid)["net0"]

    before = sandbox.requests_logged()
    again = service.done(f"servers/{id_}/configure")
    assert not any(step["changed"] for step in again["steps"])
    assert {entry["method"] for entry in sandbox.request_log(before)} == {"GET"}


def test_a_rebuild_keeps_it_and_a_deletion_takes_it_along(service: Service, sandbox: Sandbox) -> None:
    server = service.built("walled-again", addresses={"ipv4": 1})
    pve(sandbox, server, "PUT", "options", enable=0)
    service.done(f"servers/{server['id']}/rebuild")
    assert sandbox.firewall(server["vmid"]) == {
        "options": PROTECTED,
        "rules": [],
        "addresses": addresses_of(service, server),
    }
    service.done(f"servers/{server['id']}", None, "DELETE")
    assert sandbox.firewall(server["vmid"]) == {"options": {}, "rules": [], "addresses": None}


def test_a_server_without_addresses_is_held_to_its_mac_address_only(
    service: Service, sandbox: Sandbox
) -> None:
    server = service.built("dhcp-walled", start=False)
    assert sandbox.firewall(server["vmid"]) == {
        "options": PROTECTED | {"ipfilter": 0},
        "rules": [],
        "addresses": None,
    }
    service.done(f"servers/{server['id']}", {"addresses": {"ipv4": 1}}, "PATCH")
    protected = {"options": PROTECTED, "rules": [], "addresses": addresses_of(service, server)}
    assert sandbox.firewall(server["vmid"]) == protected
    service.done(f"servers/{server['id']}", {"addresses": {"ipv4": 0}}, "PATCH")
    assert sandbox.firewall(server["vmid"])["addresses"] is None


def test_operators_can_switch_it_off_and_owners_cannot(
    service: Service, sandbox: Sandbox, owner: tuple[int, httpx.Client]
) -> None:
    server = service.built("open", owner_id=owner[0], anti_spoofing=False, start=False, addresses={"ipv4": 1})
    off = {"enable": 0, "macfilter": 0, "ipfilter": 0, "policy_in": "ACCEPT", "policy_out": "ACCEPT"}
    assert sandbox.firewall(server["vmid"]) == {"options": off, "rules": [], "addresses": None}
    service.done(f"servers/{server['id']}", {"anti_spoofing": True}, "PATCH")
    assert sandbox.firewall(server["vmid"])["options"] == PROTECTED
    refused = service.refused(f"servers/{server['id']}", {"network": {"firewall": False}}, "PATCH")
    assert refused[0] == 422
    assert [problem["field"] for problem in refused[1]["details"]] == ["network.firewall"]

    http = owner[1]
    path = f"/client/servers/{server['id']}/firewall"
    assert http.get(path).json()["anti_spoofing"] is True
    for body in ({"anti_spoofing": False}, {"mac_filter": False}, {"enabled": False, "ipfilter": False}):
        assert http.put(path, json=body).status_code == 422
    answer = http.put(path, json={"enabled": False})
    assert answer.status_code == 202
    job = service.finished(answer.json()["job"]["id"])
    assert job["status"] == "succeeded"
    assert sandbox.firewall(server["vmid"])["options"] == PROTECTED
    service.done(f"servers/{server['id']}", {"anti_spoofing": False}, "PATCH")
    assert sandbox.firewall(server["vmid"]) == {"options": off, "rules": [], "addresses": None}


def test_owners_set_rules_see_what_would_change_and_apply_just_that(
    service: Service, sandbox: Sandbox, owner: tuple[int, httpx.Client], server: dict[str, Any]
) -> None:
    http, path = owner[1], f"/client/servers/{server['id']}/firewall"
    comment = "{{ lookup('pipe', 'id') }} # 100 %"
    wanted = {
        "enabled": True,
        "policy_in": "DROP",
        "rules": [
            SSH | {"source": "10.0.0.0/8,192.0.2.1/32", "comment": comment},
            {"direction": "in", "action": "ACCEPT", "macro": "https", "enabled": False},
            {"direction": "out", "action": "REJECT", "protocol": "udp", "destination_port": "53,1000:2000"},
        ],
    }
    before = sandbox.firewall(server["vmid"])
    preview = http.put(f"{path}?check=true", json=wanted).json()["job"]
    assert service.finished(preview["id"])["status"] == "succeeded"
    assert sandbox.firewall(server["vmid"]) == before
    assert http.get(path).json()["firewall"]["rules"] == []

    pve(sandbox, server, "PUT", "options", policy_out="DROP")
    moved = http.put(f"{path}?plan={preview['id']}")
    assert moved.status_code == 409
    assert [problem["field"] for problem in moved.json()["error"]["details"]] == ["firewall"]
    pve(sandbox, server, "PUT", "options", policy_out="ACCEPT")
    applied = http.put(f"{path}?plan={preview['id']}")
    assert applied.status_code == 202, applied.text
    job = service.finished(applied.json()["job"]["id"])
    assert (job["status"], job["result"]) == ("succeeded", {"rules": 3})
    found = sandbox.firewall(server["vmid"])
    assert found["options"] == PROTECTED | {"policy_in": "DROP"}
    assert found["rules"] == [
        IN_PVE | {"source": "10.0.0.0/8,192.0.2.1", "comment": comment},
        {"type": "in", "action": "ACCEPT", "enable": 0, "macro": "HTTPS"},
        {"type": "out", "action": "REJECT", "enable": 1, "proto": "udp", "dport": "53,1000:2000"},
    ]
    shown = http.get(path)
    assert shown.json()["firewall"]["rules"][0]["comment"] == comment
    assert http.put(path, json=shown.json()["firewall"], headers={"If-Match": '"0"'}).status_code == 412
    again = http.put(path, json=shown.json()["firewall"], headers={"If-Match": shown.headers["etag"]})
    steps = service.finished(again.json()["job"]["id"])["steps"]
    assert not any(step["changed"] for step in steps)

    # Switched off, rules are remembered and do not count; anti-spoofing does.
    wall(service, server, **{**shown.json()["firewall"], "enabled": False})
    assert sandbox.firewall(server["vmid"]) == before
    assert len(http.get(path).json()["firewall"]["rules"]) == 3


@pytest.mark.parametrize(
    ("rule", "field"),
    [
        ({"source": "10.0.0.1/8"}, "source"),
        ({"source": "10.0.0.1,"}, "source"),
        ({"source": "+dc/management"}, "source"),
        ({"source": "10.0.0.9-10.0.0.1"}, "source"),
        ({"source": "10.0.0.1-10.0.0.9,10.1.0.0/16"}, "source"),
        ({"source": "10.0.0.1,fd00::1"}, "source"),
        ({"source": "fe80::1%eth0"}, "source"),
        ({"source": "10.0.0.1\n[OPTIONS]\nenable: 0"}, "source"),
        ({"source": "10.0.0.1", "destination": "fd00::1"}, "destination"),
        ({"protocol": "icmpv6", "source": "10.0.0.1"}, "source"),
        ({"protocol": "tcp", "destination_port": "80,,443"}, "destination_port"),
        ({"protocol": "tcp", "destination_port": "2000:1000"}, "destination_port"),
        ({"protocol": "tcp", "destination_port": "65536"}, "destination_port"),
        ({"protocol": "tcp", "source_port": "http; reboot"}, "source_port"),
        ({"protocol": "tcp", "source_port": "1:2,3:4,5:6,7:8,9:10,11:12,13:14,15:16"}, "source_port"),
        ({"destination_port": "80"}, "destination_port"),
        ({"protocol": "icmp", "destination_port": "8"}, "destination_port"),
        ({"protocol": "TCP"}, "protocol"),
        ({"protocol": "{{ lookup('pipe', 'id') }}"}, "protocol"),
        ({"macro": "SSH", "protocol": "tcp"}, "protocol"),
        ({"macro": "Nonsense"}, "macro"),
        ({"comment": "two\nlines"}, "comment"),
        ({"comment": "x" * 256}, "comment"),
        ({"direction": "forward"}, "direction"),
        ({"action": "GROUP"}, "action"),
        ({"log": "info"}, "log"),
    ],
    ids=str,
)
def test_a_rule_that_proxmox_would_refuse_is_named(
    service: Service, server: dict[str, Any], rule: dict[str, Any], field: str
) -> None:
    body = {"rules": [SSH, SSH, {"direction": "in", "action": "DROP", **rule}], "rulesets": [999]}
    status, error = service.refused(f"servers/{server['id']}/firewall", body, "PUT")
    assert status == 422
    assert [problem["field"] for problem in error["details"]] == [f"rules.2.{field}"]


def test_a_ruleset_is_applied_outdated_brought_again_and_kept_while_it_is_used(
    service: Service, sandbox: Sandbox, owner: tuple[int, httpx.Client], server: dict[str, Any]
) -> None:
    http = owner[1]
    spec = {"name": "web", "rules": [{"direction": "in", "action": "ACCEPT", "macro": "HTTP"}]}
    made = service.create("firewall-rulesets", spec)["firewall_ruleset"]
    assert service.refused("firewall-rulesets", spec)[1]["code"] == "uniqueness_error"
    id_ = made["id"]
    assert "servers" not in http.get(f"/client/firewall-rulesets/{id_}").json()["firewall_ruleset"]
    listed = http.get("/client/firewall-rulesets", params={"name": "web", "sort": "-name"}).json()
    assert [ruleset["name"] for ruleset in listed["firewall_rulesets"]] == ["web"]
    assert http.post("/client/firewall-rulesets", json=spec).status_code == 405

    status, error = service.refused(f"servers/{server['id']}/firewall", {"rulesets": [id_, 999]}, "PUT")
    assert (status, [problem["field"] for problem in error["details"]]) == (422, ["rulesets.1"])
    wall(service, server, enabled=True, policy_in="DROP", rules=[SSH], rulesets=[id_])
    http_rule = {"type": "in", "action": "ACCEPT", "enable": 1, "macro": "HTTP"}
    assert sandbox.firewall(server["vmid"])["rules"] == [IN_PVE, http_rule]
    shown = service.read(f"firewall-rulesets/{id_}")["firewall_ruleset"]
    assert (shown["servers"], shown["outdated_servers"]) == (1, 0)

    status, error = service.refused(f"firewall-rulesets/{id_}", None, "DELETE")
    assert (status, error["details"]) == (409, [{"field": "servers", "message": "walled"}])

    changed = service.http.patch(
        f"/admin/firewall-rulesets/{id_}",
        json={"rules": [*spec["rules"], {"direction": "in", "action": "ACCEPT", "macro": "HTTPS"}]},
    ).json()
    assert [found["name"] for found in changed["outdated_servers"]] == ["walled"]
    assert http.get(f"/client/servers/{server['id']}/firewall").json()["outdated_rulesets"] == [id_]
    only = service.read(f"firewall-rulesets/{id_}/servers?outdated=true&name=walled&sort=-name")["servers"]
    assert [(found["name"], found["outdated"]) for found in only] == [("walled", True)]

    applied = service.ask(f"firewall-rulesets/{id_}/apply")
    assert (applied["left_out"], applied["remaining"]) == ([], 0)
    [job] = applied["jobs"]
    busy = service.ask(f"firewall-rulesets/{id_}/apply", {"only_outdated": False})
    assert [(left["name"], left["code"]) for left in busy["left_out"]] == [("walled", "locked")]
    job = service.finished(job["id"])
    assert job["status"] == "succeeded", job["error"]
    assert [rule["macro"] for rule in sandbox.firewall(server["vmid"])["rules"][1:]] == ["HTTP", "HTTPS"]
    assert service.read(f"firewall-rulesets/{id_}")["firewall_ruleset"]["outdated_servers"] == 0

    wall(service, server)
    assert service.ask(f"firewall-rulesets/{id_}", None, "DELETE")["firewall_ruleset"]["name"] == "web"


def test_a_change_that_fails_or_is_taken_back_leaves_the_record_that_was_before(
    service: Service, sandbox: Sandbox, server: dict[str, Any]
) -> None:
    path = f"servers/{server['id']}/firewall"
    wall(service, server, enabled=True, rules=[SSH])
    fault = {"method": "PUT", "path": "/firewall/options$", "status": 500, "message": "no", "count": 1}
    sandbox.control.post("/faults", json=fault).raise_for_status()
    stricter = {"enabled": True, "policy_in": "DROP", "rules": []}
    failed = service.finished(service.ask(path, stricter, "PUT")["job"]["id"])
    assert failed["status"] == "failed"
    assert service.read(path)["firewall"]["policy_in"] == "ACCEPT"
    assert len(service.read(path)["firewall"]["rules"]) == 1
    # Rules go only when the policy is there.
    assert sandbox.firewall(server["vmid"])["rules"] == [IN_PVE]
    retried = service.done(f"jobs/{failed['id']}/retry")
    assert retried["attempt"] == 2
    assert service.read(path)["firewall"] == {**stricter, "policy_out": "ACCEPT", "rulesets": []}
    assert sandbox.firewall(server["vmid"])["options"]["policy_in"] == "DROP"
    assert sandbox.firewall(server["vmid"])["rules"] == []
    wall(service, server)
