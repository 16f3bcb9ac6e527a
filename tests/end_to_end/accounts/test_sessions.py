"""Sessions: how they begin, and how they end."""

from pathlib import Path

from tests.support.people import GOOD, OTHER, client, log_in, person, refusal, rows, user
from tests.support.service import Service


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
        age(service, "expires_at", 61)
        assert session.get("/auth/user").status_code == 401
        idle = person(service, who["email"])
        age(service, "last_used_at", 13 * 3600)
        assert idle.get("/auth/user").status_code == 401
        fresh = person(service, who["email"])  # and what has ended is forgotten
        assert len(fresh.get("/auth/sessions").json()["sessions"]) == 1
        assert rows(service, "SELECT count(*) FROM session") == [(1,)]


def age(service: Service, column: str, seconds: int) -> None:
    rows(service, f"UPDATE session SET {column} = {column} - {seconds * 1_000_000}")
