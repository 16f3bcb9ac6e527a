"""`jotunheim user …` and `jotunheim token …`, and what the API makes of them."""

import pytest

from jotunheim.repositories.peewee import database
from tests.cli.conftest import Ran, Run
from tests.support import plain_http
from tests.support.service import Service


@pytest.fixture
def local(fresh_service: Service, run: Run) -> Run:
    """Runs a command with the settings of a service that answers."""

    def run_command(*arguments: str, stdin: str = "") -> Ran:
        try:
            return run(*arguments, stdin=stdin, **fresh_service.environment)
        finally:
            database.database.close()

    return run_command


def ask(service: Service, token: str, method: str = "GET", path: str = "servers") -> int:
    """Status of an answer to a token's holder."""
    url = f"{service.http.base_url}admin/{path}"
    return plain_http.request(method, url, headers={"Authorization": f"Bearer {token}"}).status_code


def test_a_user_with_tokens_from_the_first_to_the_last(local: Run, fresh_service: Service) -> None:
    made = local(
        *("user", "create", "--email", "Ci@Example.com", "--name", "CI", "--role", "admin", "--json"),
        *("--password-stdin",),
        stdin="correct horse\n",
    )
    assert made.status == 0, made.err
    assert made.document["user"]["email"] == "ci@example.com"
    assert "horse" not in made.out + made.err
    assert made.document["user"]["has_password"] is True

    created = local(
        *("token", "create", "--user", "ci@example.com", "--name", "pipeline", "--expires-in", "30d"),
        *("--scope", "servers:read", "--scope", "servers:read", "--json"),
    )
    assert created.status == 0, created.err
    token, secret = created.document["token"], created.document["secret"]
    assert token["scopes"] == ["servers:read"]
    assert ask(fresh_service, secret) == 200
    assert ask(fresh_service, secret, "POST", "servers") == 403

    listed = local("token", "list", "--user", "CI@example.com", "--json")
    assert [entry["id"] for entry in listed.document["tokens"]] == [token["id"]]
    assert listed.document["tokens"][0]["last_used_at"]
    assert secret not in listed.out
    assert len(local("token", "list", "--json").document["tokens"]) == 2

    assert local("token", "revoke", str(token["id"])).status == 0
    assert ask(fresh_service, secret) == 401

    shown = local("token", "create", "--user", "ci@example.com", "--name", "all", "--scope", "*").out
    secret = shown.split("JOTUNHEIM_TOKEN=")[1].strip()
    assert ask(fresh_service, secret) == 200
    disabled = local("user", "disable", "ci@example.com", "--json").document["user"]
    assert disabled["disabled_at"]
    assert ask(fresh_service, secret) == 401
    assert local("user", "disable", "ci@example.com", "--json").document["user"] == disabled
    refused = local("token", "create", "--user", "ci@example.com", "--name", "x", "--scope", "*", "--json")
    assert refused.document["error"]["code"] == "conflict"
    users = local("user", "list", "--json").document["users"]
    assert [user["email"] for user in users] == ["admin@example.com", "ci@example.com"]
    assert "ci@example.com" in local("user", "list").out


def test_what_is_refused_is_named_by_its_option(local: Run) -> None:
    token = ["token", "create", "--user", "admin@example.com"]
    ran = local(
        *token, "--name", "\x1b", "--scope", "*", "--scope", "servers:all", "--expires-in", "9999w", "--json"
    )
    assert ran.status == 1
    fields = {detail["field"] for detail in ran.document["error"]["details"]}
    assert fields == {"name", "scopes.1", "expires_in_seconds"}
    for option in ("--name", "--scope (number 2)", "--expires-in"):
        assert f"\n  {option}: " in ran.err
    assert local(*token, "--name", "x").status == 2

    user = ["user", "create", "--name", "X", "--role", "client", "--email"]
    assert "--email: must be an e-mail address" in local(*user, "nobody").err
    assert local(*user, "ADMIN@example.com", "--json").document["error"]["code"] == "uniqueness_error"
    assert "--role: there is no role god" in local(*user[:4], "--role", "god", "--email", "a@b").err
    weak = local(*user, "weak@example.com", "--password-stdin", stdin="password123\n")
    assert (weak.status, "--password-stdin: is too easy to guess" in weak.err) == (1, True)
    networks = local(*token, "--name", "x", "--scope", "*", "--network", "192.0.2.1/24")
    assert "--network (number 1): must be" in networks.err

    for arguments in (
        ["user", "disable", "x@y"],
        ["token", "revoke", "99"],
        ["token", "list", "--user", "x@y"],
    ):
        assert local(*arguments, "--json").document["error"]["code"] == "not_found"


def test_a_client_may_not_ask_the_operators_api(local: Run, fresh_service: Service) -> None:
    assert local("user", "create", "--email", "c@example.com", "--name", "C", "--role", "client").status == 0
    made = local("token", "create", "--user", "c@example.com", "--name", "t", "--scope", "*", "--json")
    assert ask(fresh_service, made.document["secret"]) == 403
