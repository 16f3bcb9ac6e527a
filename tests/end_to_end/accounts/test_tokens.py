"""Tokens that people make for themselves."""

from jotunheim.services.accounts.tokens import MAX_TOKENS
from jotunheim.services.audit.floods import PER_ADDRESS
from tests.support.people import GOOD, client, person, refusal, user
from tests.support.service import Service


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


def test_a_user_has_only_so_many_tokens(accounts: Service) -> None:
    session = person(accounts, user(accounts)["email"])
    spec = {"name": "one of many", "scopes": ["servers:read"]}
    made = [session.post("/auth/tokens", json=spec) for _ in range(MAX_TOKENS)]
    assert {answer.status_code for answer in made} == {201}
    one_more = session.post("/auth/tokens", json=spec)
    assert (one_more.status_code, one_more.json()["error"]["code"]) == (409, "resource_limit_exceeded")
    session.delete(f"/auth/tokens/{made[0].json()['token']['id']}").raise_for_status()
    assert session.post("/auth/tokens", json=spec).status_code == 201


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


def test_a_token_that_is_tried_from_elsewhere_is_named_in_the_log_and_does_not_fill_it(
    fresh_service: Service,
) -> None:
    spec = {"name": "stolen", "scopes": ["*"], "networks": ["192.0.2.0/24"]}
    stolen = fresh_service.http.post("/auth/tokens", json=spec).json()
    thief = client(fresh_service, stolen["secret"])
    assert {thief.get("/client/servers").status_code for _ in range(2 * PER_ADDRESS)} == {403}
    wanted = {"action": "server.list", "outcome": "forbidden"}
    told = fresh_service.http.get("/admin/audit", params=wanted).json()["audit_entries"]
    assert {(entry["token_id"], entry["address"]) for entry in told} == {(stolen["token"]["id"], "127.0.0.1")}
    assert len(told) == PER_ADDRESS
    shown = fresh_service.http.get(f"/auth/tokens/{stolen['token']['id']}").json()["token"]
    assert shown["last_used_at"] is None
