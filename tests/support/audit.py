"""Requests whose entries in the audit log are looked at."""

import json
import sqlite3
import uuid
from typing import Any

from tests.cli.conftest import Ran, run_process
from tests.support.service import Service


def asked(service: Service, method: str, path: str, body: Any = None, **headers: str) -> tuple[Any, str]:
    """A request's answer, and its id."""
    id_ = f"test-{uuid.uuid4()}"
    sent = {"X-Request-ID": id_, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return service.http.request(method, f"/admin/{path}", json=body, headers=sent), id_


def entries(service: Service, request_id: str) -> list[dict[str, Any]]:
    """What a request has left, the newest first."""
    found: list[dict[str, Any]] = service.read(f"audit?request_id={request_id}")["audit_entries"]
    return found


def entry_of(service: Service, method: str, path: str, body: Any = None, **headers: str) -> dict[str, Any]:
    """The one entry that a request leaves."""
    answer, id_ = asked(service, method, path, body, **headers)
    (entry,) = entries(service, id_)
    assert entry["status"] == answer.status_code
    return entry


def run_command(service: Service, *arguments: str) -> Ran:
    """A command of the service's administrator."""
    url = str(service.http.base_url).removesuffix("/api/v1/")
    return run_process(*arguments, **service.environment, JOTUNHEIM_URL=url, JOTUNHEIM_TOKEN=service.token)


def user_of(service: Service, email: str, **more: Any) -> int:
    """Id of a user, who is added if need be."""
    found = service.read(f"users?email={email}")["users"]
    id_: int = (found or [service.create("users", {"email": email, "name": "U", **more})["user"]])[0]["id"]
    return id_


def stored(service: Service) -> list[str]:
    """The audit log as it is stored, a text for each entry."""
    with sqlite3.connect(service.state / "jotunheim.db") as raw:
        rows = [json.dumps(row) for row in raw.execute("SELECT * FROM audit_entry")]
    raw.close()
    return rows
