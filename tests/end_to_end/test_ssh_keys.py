"""SSH keys that users keep: who sees them, and which servers get them."""

import base64
import hashlib
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import pytest

from tests.cli.conftest import Run, remote
from tests.cli.conftest import run as run  # a fixture
from tests.end_to_end.test_client_api import command
from tests.support import plain_http
from tests.support.sandbox import Sandbox
from tests.support.service import Service


def key(number: int, comment: str = "") -> str:
    """A public key, another one for each number."""
    blob = b"".join(len(part).to_bytes(4) + part for part in (b"ssh-ed25519", number.to_bytes(32)))
    return f"ssh-ed25519 {base64.b64encode(blob).decode()} {comment}".strip()


@pytest.fixture(scope="module")
def users(service: Service) -> Iterator[dict[str, tuple[int, httpx.Client]]]:
    """Two users who are no administrators: id, and a client with their token."""
    found = {}
    for name in ("ann", "bob"):
        email = f"{name}@keys.example.com"
        user = command(service, "user", "create", "--email", email, "--name", name, "--role", "client")
        scopes = ("--scope", "servers:read", "--scope", "servers:write")
        token = command(service, "token", "create", "--user", email, "--name", "t", *scopes)
        http = plain_http.Client(
            base_url=service.http.base_url,
            headers={"Authorization": f"Bearer {token['secret']}"},
            timeout=30,
        )
        found[name] = user["user"]["id"], http
    yield found
    for _, http in found.values():
        http.close()


def kept(http: httpx.Client, name: str, public_key: str) -> dict[str, Any]:
    """A key that a user keeps from now on."""
    answer = http.post("/client/ssh-keys", json={"name": name, "public_key": public_key})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()["ssh_key"]
    return found


def on_vm(sandbox: Sandbox, server: dict[str, Any]) -> list[str]:
    """The keys that cloud-init gives a server."""
    return unquote(sandbox.config(server["vmid"]).get("sshkeys", "")).split("\n")[:-1]


def test_a_key_is_kept_once_and_seen_by_its_user_alone(users: Any, tmp_path: Path) -> None:
    (_, ann), (_, bob) = users["ann"], users["bob"]
    made = kept(ann, "laptop", key(1, "ann@laptop"))
    assert set(made) == {"id", "name", "public_key", "fingerprint", "created_at", "updated_at"}
    (tmp_path / "key.pub").write_text(made["public_key"])
    told = subprocess.run(
        ["ssh-keygen", "-lf", str(tmp_path / "key.pub")], capture_output=True, text=True, check=True
    ).stdout
    assert made["fingerprint"] == told.split()[1]
    for name, public_key in (("laptop", key(2)), ("other", key(1, "another comment"))):
        clash = ann.post("/client/ssh-keys", json={"name": name, "public_key": public_key})
        assert (clash.status_code, clash.json()["error"]["code"]) == (409, "uniqueness_error")
    kept(bob, "laptop", key(1))
    path = f"/client/ssh-keys/{made['id']}"
    for method, body in (("GET", None), ("PATCH", {"name": "mine now"}), ("DELETE", None)):
        assert bob.request(method, path, json=body).status_code == 404
    assert [shown["name"] for shown in bob.get("/client/ssh-keys").json()["ssh_keys"]] == ["laptop"]
    read = ann.get(path)
    assert read.json()["ssh_key"] == made
    changed = ann.patch(path, json={"name": "old laptop"}, headers={"If-Match": read.headers["etag"]})
    assert changed.json()["ssh_key"]["name"] == "old laptop"
    assert ann.delete(path, headers={"If-Match": read.headers["etag"]}).status_code == 412
    assert ann.delete(path).json()["ssh_key"]["name"] == "old laptop"
    assert ann.get(path).status_code == 404


def test_operators_see_all_keys_and_lists_are_filtered_and_sorted(service: Service, users: Any) -> None:
    (ann_id, ann), (bob_id, _) = users["ann"], users["bob"]
    for number in (21, 22, 23):
        kept(ann, f"listed-{number}", key(number))
    admin = service.create("ssh-keys", {"name": "listed-21", "public_key": key(24), "user_id": bob_id})
    assert admin["ssh_key"]["user_id"] == bob_id
    listed = service.read(f"ssh-keys?user_id={ann_id}&sort=-name&per_page=2")
    assert [shown["name"] for shown in listed["ssh_keys"]] == ["listed-23", "listed-22"]
    assert listed["meta"]["pagination"]["total_entries"] == 3
    by_name = service.read("ssh-keys?name=listed-21")["ssh_keys"]
    assert {shown["user_id"] for shown in by_name} == {ann_id, bob_id}
    digest = hashlib.sha256(base64.b64decode(key(22).split()[1])).digest()
    fingerprint = "SHA256:" + base64.b64encode(digest).decode().rstrip("=")
    found = service.http.get("/admin/ssh-keys", params={"fingerprint": fingerprint}).json()["ssh_keys"]
    assert [shown["name"] for shown in found] == ["listed-22"]
    assert service.read("ssh-keys?mine=true")["ssh_keys"] == []
    assert service.http.get("/admin/ssh-keys?sort=public_key").status_code == 422
    assert service.refused("ssh-keys", {"name": "x", "public_key": key(25), "user_id": 99999})[0] == 422
    for shown in service.read(f"ssh-keys?user_id={ann_id}")["ssh_keys"]:
        service.ask(f"ssh-keys/{shown['id']}", method="DELETE")
    service.ask(f"ssh-keys/{admin['ssh_key']['id']}", method="DELETE")


@pytest.mark.parametrize(
    "header", ["-----BEGIN OPENSSH PRIVATE KEY-----\n", "", "PuTTY-User-Key-File-2: ssh-ed25519\n"]
)
def test_a_private_key_is_refused_and_not_repeated(service: Service, users: Any, header: str) -> None:
    pasted = header + "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQ"
    for path, body in (
        ("/client/ssh-keys", {"name": "oops", "public_key": pasted}),
        ("/admin/servers", {"name": "oops", "template_id": service.ids["template"], "ssh_keys": [pasted]}),
    ):
        http = users["ann"][1] if path.startswith("/client") else service.http
        answer = http.post(path, json=body)
        assert answer.status_code == 422
        [detail] = answer.json()["error"]["details"]
        assert "private key" in detail["message"]
        assert "b3Blbn" not in answer.text
    assert "b3Blbn" not in (service.state / "serve.log").read_text()


def test_the_same_key_from_ten_requests_at_once_is_kept_once(users: Any) -> None:
    _, http = users["bob"]
    barrier = threading.Barrier(10)

    def post(number: int) -> int:
        barrier.wait()
        answer = http.post("/client/ssh-keys", json={"name": f"race-{number}", "public_key": key(31)})
        return answer.status_code

    with ThreadPoolExecutor(10) as pool:
        assert sorted(pool.map(post, range(10))) == [201] + [409] * 9


def test_a_server_gets_the_keys_that_are_named_or_all_that_its_owner_keeps(
    service: Service, sandbox: Sandbox, users: Any
) -> None:
    (ann_id, ann), (_, bob) = users["ann"], users["bob"]
    first, second = kept(ann, "first", key(41)), kept(ann, "second", key(42))
    foreign = kept(bob, "foreign", key(43))
    created = service.create_server("keys-by-default", owner_id=ann_id, start=False)
    assert created["root_password"] is None
    assert created["server"]["ssh_keys"] == [key(41), key(42)]
    assert service.finished(created["job"]["id"])["status"] == "succeeded"
    built = service.server(created["server"]["id"])
    assert on_vm(sandbox, built) == [key(41), key(42)]
    assert "cipassword" not in sandbox.config(built["vmid"])

    none = service.create_server("keys-none", owner_id=ann_id, start=False, ssh_keys=[])
    assert (bool(none["root_password"]), none["server"]["ssh_keys"]) == (True, [])
    some = service.create_server(
        "keys-some", owner_id=ann_id, start=False, ssh_keys=[key(44)], ssh_key_ids=[second["id"]]
    )
    assert (some["root_password"], some["server"]["ssh_keys"]) == (None, [key(44), key(42)])
    for job in (none["job"], some["job"]):
        service.finished(job["id"])

    spec = {"name": "keys-foreign", "template_id": 99999, "owner_id": ann_id}
    status, error = service.refused("servers", {**spec, "ssh_key_ids": [first["id"], foreign["id"]]})
    assert status == 422
    assert {(detail["field"], detail["message"]) for detail in error["details"]} == {
        ("ssh_key_ids.1", f"there is no key {foreign['id']}"),
        ("template_id", "there is no template 99999"),
    }

    path = f"/client/servers/{created['server']['id']}"
    answer = ann.put(f"{path}/ssh-keys", json={"ssh_key_ids": [foreign["id"]]})
    assert answer.json()["error"]["details"][0]["field"] == "ssh_key_ids.0"
    assert ann.put(f"{path}/ssh-keys", json={}).status_code == 422
    service.finished(ann.put(f"{path}/ssh-keys", json={"ssh_key_ids": [second["id"]]}).json()["job"]["id"])
    assert ann.get(f"{path}/ssh-keys").json() == {"ssh_keys": [key(42)]}
    assert on_vm(sandbox, built) == [key(42)]

    # The server has a copy: that its user's key goes changes neither the record nor the next rebuild.
    assert ann.delete(f"/client/ssh-keys/{second['id']}").status_code == 200
    service.finished(ann.post(f"{path}/rebuild", json={}).json()["job"]["id"])
    assert service.server(created["server"]["id"])["ssh_keys"] == on_vm(sandbox, built) == [key(42)]
    service.finished(ann.post(f"{path}/rebuild", json={"ssh_key_ids": [first["id"]]}).json()["job"]["id"])
    assert service.server(created["server"]["id"])["ssh_keys"] == on_vm(sandbox, built) == [key(41)]


def test_a_plan_gives_the_keys_that_it_has_shown_or_is_refused(service: Service, users: Any) -> None:
    ann_id, ann = users["ann"]
    spec = {
        "name": "keys-planned",
        "template_id": service.ids["template"],
        "owner_id": ann_id,
        "start": False,
    }
    preview = service.ask("servers?check=true", spec)
    assert service.finished(preview["job"]["id"])["status"] == "succeeded"
    later = kept(ann, "came later", key(51))
    status, error = service.refused(f"servers?plan={preview['job']['id']}")
    assert (status, [detail["field"] for detail in error["details"]]) == (409, ["record"])
    assert ann.delete(f"/client/ssh-keys/{later['id']}").status_code == 200
    applied = service.ask(f"servers?plan={preview['job']['id']}")
    assert applied["server"]["ssh_keys"] == preview["server"]["ssh_keys"]
    assert (bool(preview["server"]["ssh_keys"]), applied["root_password"]) == (True, None)
    service.finished(applied["job"]["id"])


def test_keys_on_the_command_line(service: Service, run: Run, users: Any, tmp_path: Path) -> None:
    bob_id, _ = users["bob"]
    environment = remote(service)
    for user in ([], ["--user", str(bob_id)]):
        (tmp_path / "id.pub").write_text(f"# mine\n{key(61, 'me@here')}\n")
        added = run("key", "add", "cli", str(tmp_path / "id.pub"), *user, "--json", **environment)
        assert added.status == 0, added.err
        assert added.document["ssh_key"]["public_key"] == key(61, "me@here")
        shown = run("key", "list", *user, **environment)
        assert "cli" in shown.out
    secret = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA\n"
    (tmp_path / "id").write_text(secret)
    before = len((service.state / "serve.log").read_text())
    refused = run("key", "add", "oops", str(tmp_path / "id"), **environment)
    assert (refused.status, "was not sent" in refused.err) == (2, True)
    assert "POST" not in (service.state / "serve.log").read_text()[before:]
    (tmp_path / "more.pub").write_text(key(62))
    arguments = (
        "server",
        "create",
        "--name",
        "keys-cli",
        "--template",
        str(service.ids["template"]),
        "--no-start",
    )
    made = run(
        *arguments, "--key", "cli", "--key", str(tmp_path / "more.pub"), "--wait", "--json", **environment
    )
    assert made.status == 0, made.err
    assert made.document["server"]["ssh_keys"] == [key(62), key(61, "me@here")]
    missing = run(*arguments, "--key", "nobody's", **environment)
    assert (missing.status, "nobody's" in missing.err) == (1, True)
    assert run("key", "change", "cli", "--name", "renamed", **environment).status == 0
    assert run("key", "delete", "renamed", **environment).status == 0
    assert run("key", "delete", "renamed", **environment).status == 1
    assert service.read("ssh-keys?mine=true")["ssh_keys"] == []
