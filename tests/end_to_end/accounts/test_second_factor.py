"""The second factor of logins."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.support.people import GOOD, OTHER, log_in, person, refusal, set_up_second_factor, user
from tests.support.service import Service


def test_a_second_factor_is_asked_for_and_no_code_works_twice(accounts: Service) -> None:
    who = user(accounts)
    other = person(accounts, who["email"])
    session, codes, recovery = set_up_second_factor(accounts, who["email"])
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
    for number, typed in enumerate((recovery[3].replace("-", " "), f" {recovery[4]} ".replace("-", "")), 3):
        assert log_in(accounts, who["email"], code=typed).status_code == 200
        assert log_in(accounts, who["email"], code=recovery[number]).status_code == 401
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
    set_up_second_factor(accounts, who["email"])
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
        session, _, _ = set_up_second_factor(service, who["email"])
        assert session.get("/admin/servers").status_code == 200
