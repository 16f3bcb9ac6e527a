"""Users, tokens and the access control list: who may do what."""

from collections.abc import Iterator

import httpx
import pytest

from tests.sandbox.requests import VM, Pve


@pytest.fixture
def limited(pve: Pve) -> Iterator[httpx.Client]:
    """A client with a privilege-separated token that has no permissions yet."""
    pve.ok("POST", "/access/users", userid="bob@pve", password="bobs-password")
    created = pve.ok("POST", "/access/users/bob@pve/token/probe", comment="test")
    assert created["full-tokenid"] == "bob@pve!probe"
    api = pve.sandbox.api
    with httpx.Client(base_url=api.base_url, transport=api._transport) as client:
        client.headers["Authorization"] = f"PVEAPIToken=bob@pve!probe={created['value']}"
        yield client


def grant(pve: Pve, path: str, role: str) -> None:
    """Give bob and his token a role."""
    pve.ok("PUT", "/access/acl", path=path, roles=role, users="bob@pve")
    pve.ok("PUT", "/access/acl", path=path, roles=role, tokens="bob@pve!probe")


def test_without_permission_lists_are_empty_and_reads_are_forbidden(limited: httpx.Client) -> None:
    assert limited.get(VM).json() == {"data": []}
    refused = limited.get(f"{VM}/9000/config")
    assert (refused.status_code, refused.reason_phrase) == (
        403,
        "Permission check failed (/vms/9000, VM.Audit)",
    )


def test_permission_comes_before_existence_and_parameters(limited: httpx.Client) -> None:
    assert limited.get(f"{VM}/777/config").status_code == 403
    assert limited.put(f"{VM}/9000/config", data={"memory": "abc"}).status_code == 403


def test_a_separated_token_has_only_what_both_have(pve: Pve, limited: httpx.Client) -> None:
    pve.ok("PUT", "/access/acl", path="/vms", roles="PVEVMAdmin", users="bob@pve")
    assert limited.get(VM).json() == {"data": []}
    pve.ok("PUT", "/access/acl", path="/vms/9000", roles="PVEAuditor", tokens="bob@pve!probe")
    assert [vm["vmid"] for vm in limited.get(VM).json()["data"]] == [9000]
    assert limited.get(f"{VM}/9000/config").status_code == 200
    refused = limited.put(f"{VM}/9000/config", data={"memory": 512})
    assert refused.status_code == 403


def test_each_option_needs_its_privilege(pve: Pve, limited: httpx.Client) -> None:
    pve.clone(400)
    pve.ok("POST", "/access/roles", roleid="MemoryOnly", privs="VM.Config.Memory,VM.Audit")
    grant(pve, "/vms/400", "MemoryOnly")
    assert limited.put(f"{VM}/400/config", data={"memory": 512}).status_code == 200
    refused = limited.put(f"{VM}/400/config", data={"cores": 2})
    assert refused.json()["message"] == "Permission check failed (/vms/400, VM.Config.CPU)\n"


def test_a_clone_needs_permission_on_template_target_storage_and_bridge(
    pve: Pve, limited: httpx.Client
) -> None:
    grant(pve, "/vms/9000", "PVETemplateUser")
    assert limited.post(f"{VM}/9000/clone", data={"newid": 401}).status_code == 403
    grant(pve, "/vms/401", "PVEVMAdmin")
    refused = limited.post(f"{VM}/9000/clone", data={"newid": 401})
    assert (
        refused.json()["message"] == "Permission check failed (/storage/vmstore, Datastore.AllocateSpace)\n"
    )
    grant(pve, "/storage/vmstore", "PVEDatastoreUser")
    refused = limited.post(f"{VM}/9000/clone", data={"newid": 401})
    path = "/sdn/zones/localnetwork/vmbr0"
    assert refused.json()["message"] == f"Permission check failed ({path}, SDN.Use)\n"
    grant(pve, path, "PVESDNUser")
    upid = limited.post(f"{VM}/9000/clone", data={"newid": 401}).json()["data"]
    assert upid.endswith(":bob@pve!probe:")
    assert pve.ended(upid) == "OK"


def test_a_pool_gives_its_permissions_to_its_members(pve: Pve, limited: httpx.Client) -> None:
    pve.clone(402)
    pve.ok("POST", "/pools", poolid="team")
    grant(pve, "/pool/team", "PVEVMUser")
    assert limited.get(f"{VM}/402/status/current").status_code == 403
    pve.ok("PUT", "/pools/team", vms="402")
    assert limited.get(f"{VM}/402/status/current").status_code == 200


def test_other_peoples_tasks_are_hidden(pve: Pve, limited: httpx.Client) -> None:
    pve.clone(403)
    upid = pve.ok("GET", "/nodes/pve1/tasks")[0]["upid"]
    assert limited.get("/nodes/pve1/tasks").json()["data"] == []
    assert limited.get(f"/nodes/pve1/tasks/{upid}/status").status_code == 403


@pytest.mark.parametrize("option", ["args", "lock"])
def test_some_options_are_for_the_root_user_and_not_for_its_token(pve: Pve, option: str) -> None:
    pve.clone(404)
    values = {"args": "-smbios type=1", "lock": "backup"}
    assert pve.send("PUT", f"{VM}/404/config", **{option: values[option]}).status_code in (403, 500)
    assert option not in pve.config(404)


def test_a_deleted_user_takes_its_tokens_and_permissions_along(pve: Pve, limited: httpx.Client) -> None:
    grant(pve, "/vms", "PVEAuditor")
    pve.ok("DELETE", "/access/users/bob@pve")
    assert limited.get("/version").status_code == 401
    assert [entry["ugid"] for entry in pve.ok("GET", "/access/acl")] == ["admin@pve"]


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (
            {"path": "/vms", "roles": "Nosuch", "users": "root@pam"},
            "ACL update failed: role 'Nosuch' does not exist",
        ),
        (
            {"path": "/vms", "roles": "PVEAuditor", "users": "x@pve"},
            "ACL update failed: user 'x@pve' does not exist",
        ),
    ],
)
def test_an_entry_for_what_does_not_exist_is_refused(pve: Pve, form: dict[str, str], message: str) -> None:
    assert pve.message("PUT", "/access/acl", **form) == (500, message)
