"""What entries do not hold: secrets, and more than so much."""

import json
import sqlite3
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from jotunheim.routes import api_admin, api_auth, api_client
from tests.support.audit import asked, entries, entry_of, stored, user_of
from tests.support.sandbox import Sandbox
from tests.support.service import Service

OPERATIONS = [*api_admin.operations, *api_client.operations, *api_auth.operations]
CANARY = "Canary-Pa55word-1x"
SIGNING = "whsec_" + "Q2FuYXJ5" * 5


def _secret_fields(shape: type[BaseModel]) -> set[str]:
    return {name for name, field in shape.model_fields.items() if "SecretStr" in str(field.annotation)}


SECRETS: dict[tuple[str, str], dict[str, Any]] = {
    ("POST", "/servers"): {"password": CANARY, "name": "canary-server"},
    ("POST", "/servers/{id:uuid}/password"): {"password": CANARY},
    ("POST", "/servers/{id:uuid}/rebuild"): {"password": CANARY},
    ("POST", "/nodes"): {"token_secret": CANARY, "name": "canary", "host": "192.0.2.1"},
    ("PATCH", "/nodes/{id:row}"): {"token_secret": CANARY},
    ("POST", "/webhooks"): {"secret": SIGNING, "url": f"https://hooks.example/{CANARY}"},
    ("POST", "/webhooks/{id:row}/rotate-secret"): {"secret": SIGNING},
    ("POST", "/users"): {"password": CANARY, "email": "canary@example.com", "name": "C"},
    ("PATCH", "/users/{id:row}"): {"password": CANARY},
}  # fmt: skip
"""A body for each operation that takes a secret."""


def test_no_secret_of_a_request_or_an_answer_is_kept(audited: Service, sandbox: Sandbox) -> None:
    takes = {
        (operation.method, operation.path.removeprefix("/admin").removeprefix("/client"))
        for operation in OPERATIONS
        if operation.body and _secret_fields(operation.body) and not operation.path.startswith("/auth")
    }
    assert takes == SECRETS.keys()
    generated = audited.create_server("canary-target")
    audited.finished(generated["job"]["id"])
    for (method, path), body in SECRETS.items():
        row = audited.ids["node"] if "nodes" in path else user_of(audited, "canary-2@example.com")
        row = audited.read("webhooks")["webhooks"][0]["id"] if path.startswith("/webhooks/") else row
        where = path.replace("{id:row}", str(row))
        where = where.replace("{id:uuid}", generated["server"]["id"]).lstrip("/")
        others = {"/servers": {"template_id": audited.ids["template"]},
                  "/nodes": {**audited.node_spec(sandbox), "labels": {}}}  # fmt: skip
        complete = {**others.get(path, {}), **body}
        (field,) = {"password", "token_secret", "secret"} & body.keys()
        for wrong in ({**complete, field: [CANARY]}, {**complete, "surprise": CANARY}):
            assert asked(audited, method, where, wrong)[0].status_code == 422
        entry = entry_of(audited, method, where, complete)
        assert entry["outcome"] == "done", (where, entry["message"])
        assert entry["request"]["body"][field] == "**********"
        job = entry["after"].get("job")
        if job:
            audited.finished(job["id"])
    audited.ask(f"nodes/{audited.ids['node']}", {"token_secret": sandbox.token_secret}, "PATCH")
    typed_in_the_wrong_field = {"email": CANARY, "password": "x"}
    assert audited.http.post("/auth/login", json=typed_in_the_wrong_field).status_code == 401
    kept = stored(audited)
    assert len(kept) > 20
    for secret in (CANARY, SIGNING, generated["root_password"], audited.token[4:], sandbox.token_secret):
        assert not [row for row in kept if secret in row or json.dumps(json.dumps(secret)[1:-1])[1:-1] in row]


def test_hostile_input_is_kept_small_and_as_it_is(audited: Service) -> None:
    evil = "{{ lookup('pipe', 'touch /tmp/jotunheim-audit-owned') }}"
    server = audited.create_server("hostile", labels={"evil": evil})
    job = audited.finished(server["job"]["id"])
    (entry,) = entries(audited, job["request_id"])
    assert entry["request"]["body"]["labels"] == {"evil": evil}
    assert not Path("/tmp/jotunheim-audit-owned").exists()
    keys = [f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJx0wqEEMq7wLr8XbJ3WYmHyZ8aQ9sYqv3nXhGm0Q4pB {'c' * n}"
            for n in range(9000, 9050)]  # fmt: skip
    path = f"servers/{server['server']['id']}"
    large = entry_of(audited, "PATCH", path, {"description": evil + "\n" + "x" * 4000})
    assert large["outcome"] == "done"
    assert large["after"]["server"]["description"].startswith(evil)
    assert large["after"]["server"]["description"].endswith(f"x… ({len(evil) + 4001} characters)")
    audited.finished(large["after"]["job"]["id"])
    spec = {"name": "hostile", "template_id": audited.ids["template"], "ssh_keys": keys}
    assert entry_of(audited, "POST", "servers", spec)["outcome"] == "uniqueness_error"
    answer, _ = asked(audited, "POST", "locations", {f"field-{number}" * 9: 1 for number in range(9000)})
    assert answer.status_code == 422
    with sqlite3.connect(audited.state / "jotunheim.db") as raw:
        longest = raw.execute(
            "SELECT max(length(coalesce(request, '') || coalesce(before, '') || coalesce(after, '') ||"
            " coalesce(message, ''))) FROM audit_entry"
        ).fetchone()
    raw.close()
    assert longest[0] <= 16 * 1024
