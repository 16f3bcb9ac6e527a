"""People with accounts, as the API sees them: who they are, and how they log in."""

import sqlite3
import time
from itertools import count
from typing import Any

import httpx
import pyotp

from tests.support import plain_http
from tests.support.service import Service

GOOD = "a-Quite-unusual-passw0rd"
OTHER = "An0ther-rather-unusual-one"
_NUMBERS = count()


def client(service: Service, token: str | None = None) -> httpx.Client:
    """A client with this token, or with none."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    no_waiting = httpx.Limits(max_keepalive_connections=0)  # nothing is left open
    return plain_http.Client(base_url=service.http.base_url, headers=headers, timeout=30, limits=no_waiting)


def user(service: Service, role: str = "client", password: str | None = GOOD, **more: Any) -> dict[str, Any]:
    """A new user."""
    number = next(_NUMBERS)
    spec = {"email": f"user-{number}@example.com", "name": f"User {number}", "role": role, **more}
    made: dict[str, Any] = service.create("users", spec | ({"password": password} if password else {}))[
        "user"
    ]
    return made


def log_in(service: Service, email: str, password: str = GOOD, code: str | None = None) -> httpx.Response:
    """What a login answers."""
    body = {"email": email, "password": password, **({"code": code} if code else {})}
    return plain_http.post(f"{service.http.base_url}auth/login", json=body, timeout=30)


def person(service: Service, email: str, **login: Any) -> httpx.Client:
    """A client of somebody who logged in, with the session as a token."""
    answer = log_in(service, email, **login)
    assert answer.status_code == 200, answer.text
    return client(service, answer.json()["token"])


def refusal(answer: httpx.Response) -> tuple[int, list[str]]:
    """Status of a refusal, and the fields that it names."""
    return answer.status_code, [detail["field"] for detail in answer.json()["error"]["details"]]


def rows(service: Service, statement: str) -> list[tuple[Any, ...]]:
    """What a statement answers from the service's SQLite database."""
    with sqlite3.connect(service.state / "jotunheim.db", timeout=30) as database:
        return list(database.execute(statement))


def set_up_second_factor(service: Service, email: str) -> tuple[httpx.Client, pyotp.TOTP, list[str]]:
    """A session, codes and recovery codes of somebody who sets a second factor up."""
    session = person(service, email)
    made = session.post("/auth/2fa/setup", json={"current_password": GOOD}).json()["second_factor"]
    assert made["uri"].startswith("otpauth://totp/Jotunheim:")
    assert made["qr_svg"].startswith("data:image/svg+xml")
    codes = pyotp.TOTP(made["secret"])
    assert refusal(session.post("/auth/2fa/verify", json={"code": "000000"})) == (422, ["code"])
    answer = session.post("/auth/2fa/verify", json={"code": codes.at(time.time() - 30)})
    return session, codes, answer.json()["recovery_codes"]
