"""Logging in: with a password, with a ticket, and not at all; what a cookie may do."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from tests.support import plain_http
from tests.support.people import GOOD, OTHER, client, log_in, person, rows, user
from tests.support.service import Service


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
        guesses = [session.patch("/auth/user", json=wrong).status_code for _ in range(5)]
        assert guesses == [
            422,
            422,
            422,
            422,
            429,
        ]  # as often as logins: the one that succeeded does not count
        bare = user(service, password=None)
        ticket = service.http.post("/auth/sso", json={"user_id": bare["id"]}).json()["ticket"]
        entered = plain_http.post(f"{service.http.base_url}auth/sso/login", json={"ticket": ticket}).json()
        first = client(service, entered["token"])
        tries = [first.patch("/auth/user", json={"password": "password"}).status_code for _ in range(5)]
        assert tries == [422, 422, 422, 422, 429]  # judging one takes a while, too
        tickets = [
            plain_http.post(f"{service.http.base_url}auth/sso/login", json={"ticket": "jtl_x"}).status_code
            for _ in range(5)
        ]
        assert tickets == [401, 401, 429, 429, 429]


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
    # Over plain HTTP browsers tell no more than where the page is from.
    for other in ("https://evil.example", "null", f"http://{accounts.http.base_url.host}:1"):
        assert browser.post("/auth/login", json=body, headers={"Origin": other}).status_code == 403
    own = f"http://{accounts.http.base_url.host}:{accounts.http.base_url.port}"
    assert browser.post("/auth/login", json=body, headers={"Origin": own}).status_code == 200
    assert browser.get("/auth/user").status_code == 401
    behind_a_proxy = {"Origin": "https://panel.example.com", "Sec-Fetch-Site": "same-origin"}
    assert browser.post("/auth/login", json=body, headers=behind_a_proxy).status_code == 200


def test_a_ticket_lets_somebody_in_once_and_soon(accounts: Service) -> None:
    who = user(accounts, password=None)

    def enter(ticket: str) -> httpx.Response:
        return plain_http.post(f"{accounts.http.base_url}auth/sso/login", json={"ticket": ticket}, timeout=30)

    made = accounts.http.post("/auth/sso", json={"email": who["email"]}).json()
    with ThreadPoolExecutor(6) as callers:
        answers = list(callers.map(lambda _: enter(made["ticket"]), range(6)))
    assert sorted(answer.status_code for answer in answers) == [200] + [401] * 5
    [opened] = [answer.json() for answer in answers if answer.status_code == 200]
    session = client(accounts, opened["token"])
    assert session.get("/auth/user").json()["user"]["id"] == who["id"]
    assert session.patch("/auth/user", json={"password": GOOD}).status_code == 200
    assert log_in(accounts, who["email"]).status_code == 200

    void = accounts.http.post("/auth/sso", json={"user_id": who["id"]}).json()["ticket"]
    for disabled in (True, False):
        accounts.ask(f"users/{who['id']}", {"disabled": disabled}, "PATCH")
    assert enter(void).status_code == 401

    late = accounts.http.post("/auth/sso", json={"user_id": who["id"]}).json()["ticket"]
    rows(accounts, "UPDATE login_ticket SET expires_at = expires_at - 61000000")
    assert enter(late).status_code == 401
    accounts.ask(f"users/{who['id']}", {"disabled": True}, "PATCH")
    assert accounts.http.post("/auth/sso", json={"user_id": who["id"]}).status_code == 403
    assert enter("jtl_" + "0" * 49).status_code == 401
    assert accounts.http.post("/auth/sso", json={}).status_code == 422
    assert session.post("/auth/sso", json={"user_id": 1}).status_code == 401


def test_no_ticket_lets_an_operator_in(accounts: Service) -> None:
    """It would make a session out of a token that ends, or is of use only from some networks."""
    spec = {"name": "short", "scopes": ["*"], "expires_in_seconds": 60, "networks": ["127.0.0.1"]}
    made = client(accounts, accounts.token).post("/auth/tokens", json=spec).json()["secret"]
    other = user(accounts, "admin")
    for asking in (accounts.http, client(accounts, made), person(accounts, other["email"])):
        for body in ({"user_id": 1}, {"email": other["email"]}):
            answer = asking.post("/auth/sso", json=body)
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")
