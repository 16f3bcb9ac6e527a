"""What ends while a request is under way: it is not carried out with rights that are gone."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from jotunheim.repositories.peewee.accounts import User
from jotunheim.services.accounts import users
from tests.support import plain_http
from tests.support.in_process import InProcess
from tests.support.people import GOOD
from tests.support.world import OWNER, World

WAITING: dict[str, Any] = {"email": "late@example.com", "name": "Late", "password": GOOD}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcess]:
    """A service without a worker."""
    with InProcess.start(tmp_path_factory.mktemp("revocation")) as started:
        yield started


def _disable(service: InProcess, user: User, role_id: int) -> httpx.Response:
    return service.ask("PATCH", f"/admin/users/{user.id}", service.token, body={"disabled": True})


def _delete(service: InProcess, user: User, role_id: int) -> httpx.Response:
    return service.ask("DELETE", f"/admin/users/{user.id}", service.token)


def _weaken(service: InProcess, user: User, role_id: int) -> httpx.Response:
    return service.ask(
        "PATCH", f"/admin/roles/{role_id}", service.token, body={"permissions": ["users:read"]}
    )


@pytest.mark.parametrize(
    ("end", "expected"),
    [(_disable, 401), (_delete, 401), (_weaken, 403)],
    ids=["disable", "delete", "weaken"],
)
@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "late"}], ids=["", "with-a-key"])
def test_a_request_that_waits_is_not_carried_out_with_rights_that_have_ended(
    service: InProcess,
    monkeypatch: pytest.MonkeyPatch,
    end: Callable[..., httpx.Response],
    expected: int,
    headers: dict[str, str],
) -> None:
    """It waits for its password's hash here, as it does when many are set at once."""
    name = f"r{abs(hash((end, bool(headers)))) % 10**9}"
    role = service.ask(
        "POST",
        "/admin/roles",
        service.token,
        body={"name": name, "permissions": ["users:write", "users:read"]},
    ).json()["role"]
    user, token = service.user(f"{name}@example.com", name, "*")
    began, may_go_on = threading.Event(), threading.Event()

    def slowly(password: object, _: object) -> str | None:
        if password is None:
            return None
        began.set()
        assert may_go_on.wait(20)
        return "hash"

    with monkeypatch.context() as patched, ThreadPoolExecutor(1) as other:
        patched.setattr(users, "hash_of", slowly)
        answer = other.submit(
            lambda: plain_http.post(
                f"{service.url}/admin/users",
                json=WAITING,
                headers={"Authorization": f"Bearer {token}", **headers},
                timeout=30,
            )
        )
        try:
            assert began.wait(20)
            ended = end(service, user, role["id"])
            assert ended.status_code == 200, ended.text
        finally:
            may_go_on.set()
        assert answer.result().status_code == expected, answer.result().text
    found = service.ask("GET", "/admin/users?email=late@example.com", service.token).json()["users"]
    assert found == []


def test_a_stored_answer_is_told_to_nobody_with_another_token(service: InProcess) -> None:
    """Else a weak token would be told a strong one that was made under a key that it can guess."""
    _, strong = service.user("replay@example.com", "client", "*")
    weak = service.ask("POST", "/auth/tokens", strong, body={"name": "w", "scopes": ["tokens:write"]}).json()
    asked = {"body": {"name": "s", "scopes": ["*"]}, "headers": {"Idempotency-Key": "1"}}
    made = service.ask("POST", "/auth/tokens", strong, **asked)
    again = service.ask("POST", "/auth/tokens", strong, **asked)
    assert (made.status_code, again.json()) == (201, made.json())
    stolen = service.ask("POST", "/auth/tokens", weak["secret"], **asked)
    assert stolen.status_code == 409
    assert made.json()["secret"] not in stolen.text


@pytest.mark.parametrize("scope", ["client", "admin"])
def test_a_stream_ends_with_the_token_of_its_reader(tmp_path: Path, scope: str) -> None:
    """The job goes on: nobody works on it here."""
    with InProcess.start(tmp_path) as service:
        world = World.made(service, host="127.0.0.1", port=1, token_id="root@pam!streams", secret="s")
        job = world.job(world.server(OWNER), status="running", finished_at=None)
        reader, token = OWNER, world.tokens[OWNER]
        if scope == "admin":
            user, token = service.user("reader@example.com", "admin", "servers:read")
            reader = user.id
        headers = {"Authorization": f"Bearer {token}", "Accept": "text/event-stream"}
        path = f"{service.url}/{scope}/jobs/{job.id}/events"
        with httpx.stream("GET", path, headers=headers, timeout=10) as stream:
            lines = stream.iter_lines()
            assert next(line for line in lines if line.startswith("data:"))
            disabled = service.ask("PATCH", f"/admin/users/{reader}", service.token, body={"disabled": True})
            assert disabled.status_code == 200
            assert not [line for line in lines if line.startswith("data:")]
        assert plain_http.get(path, headers=headers, timeout=10).status_code == 401
