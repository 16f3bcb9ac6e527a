"""Users and roles, as operators keep them."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support.people import (
    GOOD,
    OTHER,
    client,
    log_in,
    person,
    refusal,
    rows,
    set_up_second_factor,
    user,
)
from tests.support.service import Service


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


def test_e_mail_addresses_are_unique_in_unicode_too(fresh_service: Service) -> None:
    """Letters may be composed or not, and become longer in lower case."""
    composed, decomposed = "ren\u00e9@example.com", "RENE\u0301@example.com"
    spec = {"email": composed, "name": "R", "password": GOOD}
    assert fresh_service.create("users", spec)["user"]["email"] == composed
    again = fresh_service.http.post("/admin/users", json=spec | {"email": decomposed})
    assert (again.status_code, again.json()["error"]["code"]) == (409, "uniqueness_error")
    assert log_in(fresh_service, decomposed).status_code == 200
    found = fresh_service.http.get("/admin/users", params={"email": decomposed}).json()["users"]
    assert [user["email"] for user in found] == [composed]
    longer = fresh_service.http.post("/admin/users", json=spec | {"email": "\ufb03" * 90 + "@a.b"})
    assert refusal(longer) == (422, ["email"])
    longest = "\ufb03" * 80 + "@example.com"
    assert len(fresh_service.create("users", spec | {"email": longest})["user"]["email"]) == 252


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


def test_a_user_goes_with_all_that_is_theirs(accounts: Service) -> None:
    who = user(accounts)
    session, _, _ = set_up_second_factor(accounts, who["email"])
    session.post("/auth/tokens", json={"name": "t", "scopes": ["*"]})
    gone: Mapping[str, Any] = accounts.ask(f"users/{who['id']}", method="DELETE")["user"]
    assert gone["email"] == who["email"]
    assert session.get("/auth/user").status_code == 401
    assert accounts.http.get(f"/admin/users/{who['id']}").status_code == 404
    for table in ("token", "session", "recovery_code"):
        assert rows(accounts, f"SELECT count(*) FROM {table} WHERE user_id = {who['id']}") == [(0,)]
    assert rows(accounts, f"SELECT name FROM secret WHERE name LIKE 'user/{who['id']}/%'") == []
