"""Accounts over HTTP: logins, sessions, tokens, roles, the second factor, and tickets for billing systems."""

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pyotp
import pytest

from tests.support.service import Service

GOOD = "a-Quite-unusual-passw0rd"
OTHER = "An0ther-rather-unusual-one"
_NUMBERS = count()


@pytest.fixture(scope="module")
def accounts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service without a worker."""
    with Service.start(tmp_path_factory.mktemp("accounts") / "state", worker=False) as started:
        yield started


def client(service: Service, token: str | None = None) -> httpx.Client:
    """A client with this token, or with none."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    no_waiting = httpx.Limits(max_keepalive_connections=0)  # nothing is left open
    return httpx.Client(base_url=service.http.base_url, headers=headers, timeout=30, limits=no_waiting)


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
    return httpx.post(f"{service.http.base_url}auth/login", json=body, timeout=30)


def person(service: Service, email: str, **login: Any) -> httpx.Client:
    """A client of somebody who logged in, with the session as a token."""
    answer = log_in(service, email, **login)
    assert answer.status_code == 200, answer.text
    return client(service, answer.json()["token"])


def refusal(answer: httpx.Response) -> tuple[int, list[str]]:
    """Status of a refusal, and the fields that it names."""
    return answer.status_code, [detail["field"] for detail in answer.json()["error"]["details"]]


def test_a_login_is_a_session_until_it_ends(accounts: Service) -> None:
    who = user(accounts)
    answer = log_in(accounts, who["email"].upper())
    opened = answer.json()
    assert opened["user"] == who
    cookie = answer.headers["set-cookie"]
    for part in ("HttpOnly", "SameSite=Strict", "Secure", "Path=/api/v1", "Max-Age=604800"):
        assert f"; {part}" in cookie
    with client(accounts, opened["token"]) as session:
        assert session.get("/auth/user").json() == {"user": who, "permissions": ["*"]}
        assert session.get("/client/servers").status_code == 200
        assert session.get("/admin/servers").status_code == 403
        [listed] = session.get("/auth/sessions").json()["sessions"]
        assert (listed["current"], listed["address"]) == (True, "127.0.0.1")
        assert session.post("/auth/logout").status_code == 200
        assert session.get("/auth/user").status_code == 401
    assert opened["token"].encode() not in b"".join(
        file.read_bytes() for file in accounts.state.glob("*.db*")
    )


def test_whoever_is_refused_learns_nothing(accounts: Service) -> None:
    known, bare = user(accounts)["email"], user(accounts, password=None)["email"]
    gone = user(accounts)
    accounts.ask(f"users/{gone['id']}", {"disabled": True}, "PATCH")
    tries = [(known, OTHER), ("nobody@example.com", OTHER), (bare, OTHER), (gone["email"], GOOD), ("x", "")]
    answers, seconds = [], []
    for email, password in tries:
        began = time.perf_counter()
        answer = log_in(accounts, email, password)
        seconds.append(time.perf_counter() - began)
        answers.append((answer.status_code, {**answer.json()["error"], "request_id": None}))
    assert answers == [answers[0]] * len(answers)
    assert answers[0][0] == 401
    assert max(seconds) < 10 * min(seconds)


@pytest.mark.parametrize("password", ["short1!", "password123", "Jotunheim1!", "user-name-1", "qwertyuiop"])
def test_common_passwords_are_refused(accounts: Service, password: str) -> None:
    spec = {"email": "user-name@example.com", "name": "User Name", "password": password}
    answer = accounts.http.post("/admin/users", json=spec)
    assert refusal(answer) == (422, ["password"])
    assert password not in answer.text


def test_e_mail_addresses_are_unique_however_they_are_written(accounts: Service) -> None:
    who = user(accounts)
    for email in (who["email"].upper(), who["email"].title()):
        answer = accounts.http.post("/admin/users", json={"email": email, "name": "Again"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "uniqueness_error")
    assert refusal(accounts.http.post("/admin/users", json={"email": "a@{{b}}", "name": "N"})) == (
        422,
        ["email"],
    )
    assert refusal(accounts.http.post("/admin/users", json={"email": "a@b", "name": "N", "role": "x"})) == (
        422,
        ["role"],
    )


def test_disabling_ends_sessions_and_tokens_at_once_and_for_good(accounts: Service) -> None:
    who = user(accounts)
    session = person(accounts, who["email"])
    made = session.post("/auth/tokens", json={"name": "t", "scopes": ["servers:read"]}).json()
    token = client(accounts, made["secret"])
    assert token.get("/client/servers").status_code == 200
    accounts.ask(f"users/{who['id']}", {"disabled": True}, "PATCH")
    assert [each.get("/client/servers").status_code for each in (session, token)] == [401, 401]
    accounts.ask(f"users/{who['id']}", {"disabled": False}, "PATCH")
    assert [each.get("/client/servers").status_code for each in (session, token)] == [401, 401]
    assert log_in(accounts, who["email"]).status_code == 200


def test_another_password_ends_the_other_sessions(accounts: Service) -> None:
    who = user(accounts)
    mine, other = person(accounts, who["email"]), person(accounts, who["email"])
    assert refusal(mine.patch("/auth/user", json={"password": OTHER})) == (422, ["current_password"])
    wrong = {"password": OTHER, "current_password": "no"}
    assert refusal(mine.patch("/auth/user", json=wrong)) == (422, ["current_password"])
    right = {"password": OTHER, "current_password": GOOD, "name": "Renamed"}
    assert mine.patch("/auth/user", json=right).json()["user"]["name"] == "Renamed"
    assert (mine.get("/auth/user").status_code, other.get("/auth/user").status_code) == (200, 401)
    assert (
        log_in(accounts, who["email"]).status_code,
        log_in(accounts, who["email"], OTHER).status_code,
    ) == (401, 200)


def test_sessions_are_listed_and_ended_by_nobody_else(accounts: Service) -> None:
    first, second = user(accounts), user(accounts)
    mine, other = person(accounts, first["email"]), person(accounts, second["email"])
    [theirs] = other.get("/auth/sessions").json()["sessions"]
    assert mine.delete(f"/auth/sessions/{theirs['id']}").status_code == 404
    again = person(accounts, first["email"])
    ids = {entry["current"]: entry["id"] for entry in mine.get("/auth/sessions").json()["sessions"]}
    assert mine.delete(f"/auth/sessions/{ids[False]}").status_code == 200
    assert (again.get("/auth/user").status_code, mine.get("/auth/user").status_code) == (401, 200)


def test_sessions_end_by_themselves(tmp_path: Path) -> None:
    settings = {"JOTUNHEIM_SESSION_SECONDS": "60", "JOTUNHEIM_COOKIE_SECURE": "false"}
    with Service.start(tmp_path / "state", worker=False, settings=settings) as service:
        who = user(service)
        answer = log_in(service, who["email"])
        assert "Secure" not in answer.headers["set-cookie"]
        session = client(service, answer.json()["token"])
        assert session.get("/auth/user").status_code == 200
        _age(service, "expires_at", 61)
        assert session.get("/auth/user").status_code == 401
        idle = person(service, who["email"])
        _age(service, "last_used_at", 13 * 3600)
        assert idle.get("/auth/user").status_code == 401
        fresh = person(service, who["email"])  # and what has ended is forgotten
        assert len(fresh.get("/auth/sessions").json()["sessions"]) == 1
        assert _rows(service, "SELECT count(*) FROM session") == [(1,)]


def _age(service: Service, column: str, seconds: int) -> None:
    _rows(service, f"UPDATE session SET {column} = {column} - {seconds * 1_000_000}")


def _rows(service: Service, statement: str) -> list[tuple[Any, ...]]:
    import sqlite3

    with sqlite3.connect(service.state / "jotunheim.db", timeout=30) as database:
        return list(database.execute(statement))


def test_a_cookie_needs_the_pages_token_to_change_anything(accounts: Service) -> None:
    who = user(accounts)
    answer = log_in(accounts, who["email"])
    cookie, csrf = answer.headers["set-cookie"].split(";")[0], answer.json()["csrf_token"]
    browser = client(accounts)
    browser.headers["Cookie"] = cookie
    assert browser.get("/auth/session").json()["csrf_token"] == csrf

    def change(**headers: str) -> int:
        return browser.patch("/auth/user", json={"name": "Clicked"}, headers=headers).status_code

    assert change() == 403
    assert change(**{"X-CSRF-Token": "0" * 64}) == 403
    assert change(**{"X-CSRF-Token": csrf, "Sec-Fetch-Site": "cross-site"}) == 403
    assert browser.get("/auth/user").json()["user"]["name"] == who["name"]
    assert change(**{"X-CSRF-Token": csrf, "Sec-Fetch-Site": "same-origin"}) == 200
    # Another site cannot log the browser in as somebody else; a login ends the session that there was.
    body = {"email": who["email"], "password": GOOD}
    assert browser.post("/auth/login", json=body, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert browser.post("/auth/login", json=body).status_code == 200
    assert browser.get("/auth/user").status_code == 401


def test_a_token_makes_none_that_is_stronger(accounts: Service) -> None:
    who = user(accounts)
    session = person(accounts, who["email"])
    lasting = {
        "name": "maker",
        "scopes": ["tokens:write", "servers:read"],
        "networks": ["127.0.0.0/8", "10.0.0.0/24"],
    }
    maker = client(
        accounts, session.post("/auth/tokens", json={**lasting, "expires_in_seconds": 3600}).json()["secret"]
    )
    weaker = {"name": "w", "scopes": ["servers:read"], "expires_in_seconds": 60, "networks": ["127.0.0.1"]}
    assert maker.post("/auth/tokens", json=weaker).status_code == 201
    for stronger in (
        {"scopes": ["*"]},
        {"scopes": ["servers:read", "servers:write"]},
        {"expires_in_seconds": None},
        {"expires_in_seconds": 7200},
        {"networks": None},
        {"networks": ["126.0.0.0/7"]},
        {"networks": ["127.0.0.1", "192.0.2.0/24"]},
        {"networks": ["::1"]},
    ):
        assert maker.post("/auth/tokens", json={**weaker, **stronger}).status_code == 403, stronger
    for path, body in (("/auth/user", {"name": "x"}), ("/auth/2fa/setup", {"current_password": GOOD})):
        assert maker.request("PATCH" if path.endswith("user") else "POST", path, json=body).status_code == 403
    assert len(session.get("/auth/tokens").json()["tokens"]) == 2


def test_a_token_is_of_use_only_from_its_networks(accounts: Service) -> None:
    session = person(accounts, user(accounts)["email"])
    spec = {"name": "far", "scopes": ["*"], "networks": ["192.0.2.0/24", "2001:db8::/32"]}
    far = session.post("/auth/tokens", json=spec).json()
    answer = client(accounts, far["secret"]).get("/client/servers")
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")
    near = session.post("/auth/tokens", json={**spec, "networks": ["127.0.0.1"]}).json()
    assert client(accounts, near["secret"]).get("/client/servers").status_code == 200
    shown = session.get(f"/auth/tokens/{near['token']['id']}").json()["token"]
    assert (shown["last_used_address"], shown["networks"]) == ("127.0.0.1", ["127.0.0.1"])
    assert near["secret"] not in session.get("/auth/tokens").text
    assert session.delete(f"/auth/tokens/{near['token']['id']}").status_code == 200
    assert client(accounts, near["secret"]).get("/client/servers").status_code == 401


def test_operators_give_nobody_more_than_they_have(accounts: Service) -> None:
    accounts.create(
        "roles",
        {"name": "support", "permissions": ["servers:read", "users:read", "users:write", "tokens:write"]},
    )
    helper = user(accounts, "support")
    support = person(accounts, helper["email"])
    assert support.get("/admin/servers").status_code == 200
    assert support.post("/admin/servers", json={"name": "x", "template_id": 1}).status_code == 403
    admin = user(accounts, "admin")
    tries = [
        support.post("/admin/users", json={"email": "new@example.com", "name": "N", "role": "admin"}),
        support.patch(f"/admin/users/{helper['id']}", json={"role": "admin"}),
        support.patch(f"/admin/users/{admin['id']}", json={"password": OTHER}),
        support.patch(f"/admin/users/{admin['id']}", json={"second_factor": False}),
        support.delete(f"/admin/users/{admin['id']}"),
        support.post("/auth/sso", json={"user_id": admin["id"]}),
        support.post("/admin/roles", json={"name": "mine", "permissions": ["*"]}),
    ]
    [role] = support.get("/admin/roles?name=support").json()["roles"]
    tries.append(support.patch(f"/admin/roles/{role['id']}", json={"permissions": ["*"]}))
    assert {answer.status_code for answer in tries} == {403}, [answer.text for answer in tries]
    assert log_in(accounts, admin["email"]).status_code == 200
    assert support.post("/admin/users", json={"email": "own@example.com", "name": "N"}).status_code == 201
    assert (
        support.post("/auth/tokens", json={"name": "t", "scopes": ["*"]}).status_code == 201
    )  # no more than the role
    billing = client(
        accounts, support.post("/auth/tokens", json={"name": "b", "scopes": ["users:write"]}).json()["secret"]
    )
    assert billing.post("/admin/users", json={"email": "c2@example.com", "name": "N"}).status_code == 201
    assert (
        billing.post(
            "/admin/users", json={"email": "s2@example.com", "name": "N", "role": "support"}
        ).status_code
        == 403
    )
    assert refusal(accounts.http.delete(f"/admin/roles/{role['id']}")) == (409, ["users"])
    accounts.ask(f"roles/{role['id']}", {"permissions": ["users:read"]}, "PATCH")
    assert support.get("/admin/servers").status_code == 403  # at once


def test_built_in_roles_and_the_last_administrator_stay(fresh_service: Service) -> None:
    for role in fresh_service.read("roles")["roles"]:
        assert role["built_in"]
        assert fresh_service.http.delete(f"/admin/roles/{role['id']}").status_code == 409
        assert (
            fresh_service.http.patch(f"/admin/roles/{role['id']}", json={"permissions": ["*"]}).status_code
            == 409
        )
    for change in ({"disabled": True}, {"role": "client"}):
        assert fresh_service.http.patch("/admin/users/1", json=change).status_code == 409
    assert fresh_service.http.delete("/admin/users/1").status_code == 409
    other = user(fresh_service, "admin")
    paths = [f"/admin/users/{id_}" for id_ in (1, other["id"])]
    with ThreadPoolExecutor(2) as both:
        answers = list(both.map(lambda path: fresh_service.http.patch(path, json={"disabled": True}), paths))
    assert sorted(answer.status_code for answer in answers) in ([200, 409], [200, 401])


def _second_factor(service: Service, email: str) -> tuple[httpx.Client, pyotp.TOTP, list[str]]:
    """A session, codes and recovery codes of somebody who sets a second factor up."""
    session = person(service, email)
    made = session.post("/auth/2fa/setup", json={"current_password": GOOD}).json()["second_factor"]
    assert made["uri"].startswith("otpauth://totp/Jotunheim:")
    assert made["qr_svg"].startswith("data:image/svg+xml")
    codes = pyotp.TOTP(made["secret"])
    assert refusal(session.post("/auth/2fa/verify", json={"code": "000000"})) == (422, ["code"])
    answer = session.post("/auth/2fa/verify", json={"code": codes.at(time.time() - 30)})
    return session, codes, answer.json()["recovery_codes"]


def test_a_second_factor_is_asked_for_and_no_code_works_twice(accounts: Service) -> None:
    who = user(accounts)
    other = person(accounts, who["email"])
    session, codes, recovery = _second_factor(accounts, who["email"])
    assert other.get("/auth/user").status_code == 401
    assert session.get("/auth/user").json()["user"]["second_factor"] is True
    assert refusal(log_in(accounts, who["email"])) == (401, ["code"])
    assert refusal(log_in(accounts, who["email"], OTHER, codes.now())) == (401, [])
    code = codes.now()
    with ThreadPoolExecutor(6) as callers:
        answers = list(callers.map(lambda _: log_in(accounts, who["email"], code=code), range(6)))
    assert sorted(answer.status_code for answer in answers) == [200] + [401] * 5
    for old in (
        codes.at(time.time() - 30),
        codes.at(time.time() - 90),
        codes.at(time.time() + 90),
        "12345",
        "",
    ):
        assert log_in(accounts, who["email"], code=old or "x").status_code == 401
    assert len(set(recovery)) == 10
    with ThreadPoolExecutor(4) as callers:
        answers = list(
            callers.map(lambda _: log_in(accounts, who["email"], code=recovery[0].upper()), range(4))
        )
    assert sorted(answer.status_code for answer in answers) == [200, 401, 401, 401]
    for secret in (*recovery, codes.secret):
        assert secret.encode() not in b"".join(file.read_bytes() for file in accounts.state.glob("*.db*"))

    proof = {"current_password": GOOD, "code": recovery[1]}
    renewed = session.post("/auth/2fa/recovery-codes", json=proof).json()["recovery_codes"]
    assert not set(renewed) & set(recovery)
    assert log_in(accounts, who["email"], code=recovery[2]).status_code == 401
    wrong = {"current_password": "no", "code": renewed[0]}
    assert refusal(session.post("/auth/2fa/disable", json=wrong)) == (422, ["current_password"])
    assert refusal(session.post("/auth/2fa/disable", json=proof)) == (422, ["code"])
    assert session.post("/auth/2fa/disable", json={**proof, "code": renewed[0]}).status_code == 200
    assert log_in(accounts, who["email"]).status_code == 200


def test_an_operator_lets_somebody_in_who_lost_the_second_factor(accounts: Service) -> None:
    who = user(accounts)
    _second_factor(accounts, who["email"])
    accounts.ask(f"users/{who['id']}", {"second_factor": False}, "PATCH")
    assert log_in(accounts, who["email"]).status_code == 200


def test_operators_must_have_a_second_factor_where_a_setting_says_so(tmp_path: Path) -> None:
    settings = {"JOTUNHEIM_ADMIN_SECOND_FACTOR": "true"}
    with Service.start(tmp_path / "state", worker=False, settings=settings) as service:
        assert service.http.get("/admin/servers").status_code == 200  # a token
        owner = person(service, user(service)["email"])
        assert owner.get("/client/servers").status_code == 200
        who = user(service, "admin")
        session = person(service, who["email"])
        assert session.get("/auth/user").status_code == 200
        for path in ("/admin/servers", "/client/servers", "/auth/tokens", "/auth/sessions"):
            assert refusal(session.get(path)) == (403, ["second_factor"])
        session.close()
        session, _, _ = _second_factor(service, who["email"])
        assert session.get("/admin/servers").status_code == 200


def test_a_ticket_lets_somebody_in_once_and_soon(accounts: Service) -> None:
    who = user(accounts, password=None)

    def enter(ticket: str) -> httpx.Response:
        return httpx.post(f"{accounts.http.base_url}auth/sso/login", json={"ticket": ticket}, timeout=30)

    made = accounts.http.post("/auth/sso", json={"email": who["email"]}).json()
    with ThreadPoolExecutor(6) as callers:
        answers = list(callers.map(lambda _: enter(made["ticket"]), range(6)))
    assert sorted(answer.status_code for answer in answers) == [200] + [401] * 5
    [opened] = [answer.json() for answer in answers if answer.status_code == 200]
    session = client(accounts, opened["token"])
    assert session.get("/auth/user").json()["user"]["id"] == who["id"]
    assert session.patch("/auth/user", json={"password": GOOD}).status_code == 200
    assert log_in(accounts, who["email"]).status_code == 200

    late = accounts.http.post("/auth/sso", json={"user_id": who["id"]}).json()["ticket"]
    _rows(accounts, "UPDATE login_ticket SET expires_at = expires_at - 61000000")
    assert enter(late).status_code == 401
    accounts.ask(f"users/{who['id']}", {"disabled": True}, "PATCH")
    assert accounts.http.post("/auth/sso", json={"user_id": who["id"]}).status_code == 403
    assert enter("jtl_" + "0" * 49).status_code == 401
    assert accounts.http.post("/auth/sso", json={}).status_code == 422
    assert session.post("/auth/sso", json={"user_id": 1}).status_code == 401


def test_a_user_goes_with_all_that_is_theirs(accounts: Service) -> None:
    who = user(accounts)
    session, _, _ = _second_factor(accounts, who["email"])
    session.post("/auth/tokens", json={"name": "t", "scopes": ["*"]})
    gone: Mapping[str, Any] = accounts.ask(f"users/{who['id']}", method="DELETE")["user"]
    assert gone["email"] == who["email"]
    assert session.get("/auth/user").status_code == 401
    assert accounts.http.get(f"/admin/users/{who['id']}").status_code == 404
    for table in ("token", "session", "recovery_code"):
        assert _rows(accounts, f"SELECT count(*) FROM {table} WHERE user_id = {who['id']}") == [(0,)]
    assert _rows(accounts, f"SELECT name FROM secret WHERE name LIKE 'user/{who['id']}/%'") == []


def test_what_is_wrong_is_named(accounts: Service) -> None:
    token = {"name": "t", "scopes": ["servers:read"]}
    for body, fields in (
        ({**token, "scopes": []}, ["scopes"]),
        ({**token, "scopes": ["servers:all"]}, ["scopes.0"]),
        ({**token, "networks": ["10.0.0.1/24"]}, ["networks.0"]),
        ({**token, "expires_in_seconds": 0}, ["expires_in_seconds"]),
        ({**token, "name": " "}, ["name"]),
    ):
        assert refusal(accounts.http.post("/auth/tokens", json=body)) == (422, fields)
    login = accounts.http.post("/auth/login", json={"email": 1, "password": ["x"], "extra": 1})
    assert refusal(login) == (422, ["email", "password", "extra"])


def test_guessing_is_slow_for_an_account_and_from_an_address(tmp_path: Path) -> None:
    settings = {"JOTUNHEIM_LOGIN_RATE_LIMIT": "4/minute", "JOTUNHEIM_LOGIN_ADDRESS_RATE_LIMIT": "9/minute"}
    with Service.start(tmp_path / "state", worker=False, settings=settings) as service:
        who, other = user(service), user(service)
        session = person(service, other["email"])
        assert [log_in(service, who["email"], OTHER).status_code for _ in range(4)] == [401] * 4
        late = log_in(service, who["email"])  # the right one, too late
        assert (late.status_code, late.json()["error"]["code"]) == (429, "rate_limit_exceeded")
        assert 1 <= int(late.headers["retry-after"]) <= 60
        wrong = {"password": GOOD, "current_password": OTHER}
        guesses = [session.patch("/auth/user", json=wrong).status_code for _ in range(4)]
        assert guesses == [422, 422, 422, 429]
        tickets = [
            httpx.post(f"{service.http.base_url}auth/sso/login", json={"ticket": "jtl_x"}).status_code
            for _ in range(5)
        ]
        assert tickets == [401, 401, 401, 429, 429]
