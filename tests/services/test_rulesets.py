"""Bringing a ruleset to more servers than one request takes."""

from pathlib import Path
from typing import Any

import pytest

from jotunheim.repositories.peewee.firewalls import Ruleset, ServerRuleset
from jotunheim.services.networks import rulesets
from tests.support.in_process import InProcess
from tests.support.world import OWNER, World


@pytest.mark.parametrize("only_outdated", [True, False])
def test_each_server_is_reached_once_and_those_that_are_locked_hold_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, only_outdated: bool
) -> None:
    monkeypatch.setattr(rulesets, "MAX_SERVERS", 2)
    with InProcess.start(tmp_path) as service:
        world = World.made(service, host="127.0.0.1", port=1, token_id="root@pam!t", secret="s")
        ruleset = Ruleset.create(name="wide", rules_version=2)
        servers = [world.server(OWNER) for _ in range(5)]
        for server in servers:
            ServerRuleset.create(server=server, ruleset=ruleset, position=0)
        first = min(servers, key=lambda server: str(server.id))
        world.job(first, status="queued", finished_at=None)
        body: dict[str, Any] = {"only_outdated": only_outdated}
        found, left, remaining = [], [], []
        while True:
            answer = service.ask(
                "POST", f"/admin/firewall-rulesets/{ruleset.id}/apply", service.token, body=body
            ).json()
            found += [job["resources"][0]["id"] for job in answer["jobs"]]
            left += [entry["server_id"] for entry in answer["left_out"]]
            remaining.append(answer["remaining"])
            if answer["next_after"] is None:
                break
            body["after"] = answer["next_after"]
        assert (sorted([*found, *left]), left) == (sorted(str(one.id) for one in servers), [str(first.id)])
        assert remaining == [3, 1, 0]
        bad = service.ask(
            "POST", f"/admin/firewall-rulesets/{ruleset.id}/apply", service.token, body={"after": "x"}
        )
        assert [detail["field"] for detail in bad.json()["error"]["details"]] == ["after"]
