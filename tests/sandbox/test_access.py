"""Privileges as PVE computes and shows them."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.sandbox.requests import VM, Pve

BOB = "bob@pve"
TOKEN = f"{BOB}!probe"


@pytest.fixture
def limited(pve: Pve) -> Iterator[httpx.Client]:
    """A client with a privilege-separated token that has no permissions yet."""
    pve.ok("POST", "/access/users", userid=BOB, password="bobs-password")
    created = pve.ok("POST", f"/access/users/{BOB}/token/probe")
    api = pve.sandbox.api
    with httpx.Client(base_url=api.base_url, transport=api._transport) as client:
        client.headers["Authorization"] = f"PVEAPIToken={TOKEN}={created['value']}"
        yield client


def grant(pve: Pve, path: str, role: str, **options: Any) -> None:
    """Give bob and his token a role."""
    pve.ok("PUT", "/access/acl", path=path, roles=role, users=BOB, tokens=TOKEN, **options)


def test_permissions_say_whether_they_are_passed_on(pve: Pve, limited: httpx.Client) -> None:
    grant(pve, "/vms", "PVEVMUser", propagate=0)
    grant(pve, "/storage", "PVEDatastoreUser")
    held = limited.get("/access/permissions").json()["data"]
    assert sorted(held) == ["/storage", "/vms"]
    assert set(held["/vms"].values()) == {0}
    assert set(held["/storage"].values()) == {1}
    assert limited.get(VM).json()["data"] == []


def test_a_pools_rights_show_on_its_members(pve: Pve, limited: httpx.Client) -> None:
    pve.ok("POST", "/pools", poolid="team")
    pve.ok("PUT", "/pools/team", vms="9000", storage="local")
    grant(pve, "/pool/team", "PVEAuditor")
    held = limited.get("/access/permissions").json()["data"]
    assert (held["/vms/9000"]["VM.Audit"], held["/storage/local"]["Datastore.Audit"]) == (0, 0)
    assert held["/pool/team"]["Pool.Audit"] == 1
    grant(pve, "/vms/9000", "NoAccess")
    assert "/vms/9000" not in limited.get("/access/permissions").json()["data"]


def test_a_token_is_not_its_user(pve: Pve, limited: httpx.Client) -> None:
    refused = limited.get("/access/permissions", params={"userid": BOB})
    assert refused.json()["message"] == "Permission check failed (/access, Sys.Audit)\n"
    assert limited.get("/access/permissions", params={"userid": TOKEN}).json() == {"data": {}}
    assert limited.get(f"/access/users/{BOB}/token").json()["message"] == "Permission check failed\n"
    nobody = pve.ok("GET", "/access/permissions", userid="nobody@pve", path="/vms")
    assert nobody == {"/vms": {}}


def test_no_token_changes_a_password(pve: Pve) -> None:
    answer = pve.send("PUT", "/access/password", userid=BOB, password="another-one")
    why = "URI '/access/password' not available with API token, need proper ticket.\n"
    assert (answer.status_code, answer.json()["message"]) == (403, f"Permission check failed ({why})\n")


def test_a_bridge_needs_a_right_of_its_own(pve: Pve, limited: httpx.Client) -> None:
    grant(pve, "/vms/801", "PVEVMAdmin")
    form = {"vmid": 801, "net0": "virtio,bridge=vmbr0"}

    def refusal(**params: Any) -> str:
        return str(limited.post(VM, data={**form, **params}).json().get("message", "")).strip()

    path = "/sdn/zones/localnetwork/vmbr0"
    assert refusal() == f"Permission check failed ({path}, SDN.Use)"
    assert refusal(net0="virtio,bridge=vmbr0,tag=7") == f"Permission check failed ({path}/7, SDN.Use)"
    grant(pve, f"{path}/7", "PVESDNUser")
    assert refusal(net0="virtio,bridge=vmbr0,tag=7") == ""
    changed = limited.put(f"{VM}/801/config", data={"net1": "virtio,bridge=vmbr0"})
    assert changed.json()["message"] == f"Permission check failed ({path}, SDN.Use)\n"


def test_storage_content_shows_what_the_sender_may_read(pve: Pve, limited: httpx.Client) -> None:
    pve.clone(802)
    grant(pve, "/storage/vmstore", "PVEDatastoreUser")
    content = "/nodes/pve1/storage/vmstore/content"
    assert limited.get(content).json()["data"] == []
    grant(pve, "/vms/802", "PVEVMAdmin")
    assert {item["vmid"] for item in limited.get(content).json()["data"]} == {802}
    volid = pve.config(802)["scsi0"].partition(",")[0]
    refused = limited.delete(f"{content}/{volid}").json()["message"]
    assert refused == "Permission check failed (/storage/vmstore, Datastore.Allocate)\n"


@pytest.mark.parametrize(
    ("method", "path", "form", "status", "message"),
    [
        ("GET", "/access/users/nobody@pve", {}, 500, "no such user ('nobody@pve')"),
        ("DELETE", "/access/users/nobody@pve", {}, 500, "no such user ('nobody@pve')"),
        (
            "POST",
            "/access/users",
            {"userid": "root@pam"},
            500,
            "create user failed: user 'root@pam' already exists",
        ),
        ("PUT", "/access/groups/none", {}, 500, "update group failed: group 'none' does not exist"),
        ("POST", "/access/roles", {"roleid": "PVEMine"}, 400, "Parameter verification failed."),
        (
            "POST",
            "/access/roles",
            {"roleid": "Mine", "privs": "VM.Bogus"},
            400,
            "Parameter verification failed.",
        ),
        (
            "PUT",
            "/access/acl",
            {"path": "/vms/7", "roles": "PVEAdmin", "users": "root@pam"},
            400,
            "Parameter v",
        ),
        ("POST", "/access/users/root@pam/token/jotunheim", {}, 400, "Parameter verification failed."),
    ],
)
def test_refusals(pve: Pve, method: str, path: str, form: dict[str, str], status: int, message: str) -> None:
    got = pve.message(method, path, **form)
    assert (got[0], got[1].startswith(message)) == (status, True)


def test_a_comment_that_is_empty_changes_nothing(pve: Pve, limited: httpx.Client) -> None:
    pve.ok("PUT", f"/access/users/{BOB}/token/probe", comment="mine")
    pve.ok("PUT", f"/access/users/{BOB}/token/probe", comment="")
    assert pve.ok("GET", f"/access/users/{BOB}/token/probe")["comment"] == "mine"
    users = {user["userid"]: user for user in pve.ok("GET", "/access/users", full=1)}
    assert users["admin@pve"]["tokens"] is None
    assert [token["tokenid"] for token in users[BOB]["tokens"]] == ["probe"]
