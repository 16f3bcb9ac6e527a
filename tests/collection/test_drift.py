"""What is told of differences is whole, however much differs."""

from dataclasses import asdict

from ansible_collections.jotunheim.pve.plugins.plugin_utils import drift
from ansible_collections.jotunheim.pve.plugins.plugin_utils.plan import Change, Plan

from jotunheim.bounded import MARK, bounded
from jotunheim.repositories.proxmox.configuration import parse


def test_nothing_that_is_told_is_cut_again() -> None:
    """Else a result would lack what follows, and the sweep of the node would end there."""
    rules = [f"in ACCEPT -source 192.0.2.{number % 256} -comment {'x' * 200}" for number in range(900)]
    notes = "y" * 8192
    keys = ["k" * 700] * 200
    plan = Plan(
        changes=[
            Change("description", notes, notes[:4096]),
            Change("sshkeys", keys, keys[1:]),
            Change("firewall.ipfilter-net0", rules, rules[1:]),
            Change("firewall.rules", rules, rules[1:]),
            *(Change(f"net0.{number}", "a" * 100, "b") for number in range(30)),
        ]
    )
    told = drift.cut(plan)
    settings = asdict(parse({"description": notes, "sshkeys": "%0A".join(keys), "cores": 2}))
    found = {
        "exists": True,
        "differences": [
            {"setting": change.key, "found": change.before, "recorded": change.after}
            for change in told.changes
        ],
        "settings": bounded(settings, drift.SETTINGS_CHARACTERS),
    }
    result = {"changed": True, "drift": found, "diff": told.diff(), "invocation": {}}
    assert bounded(result) == result
    assert told.changes[0] == plan.changes[0]
    assert MARK in str(told.changes[-31].after[-1])
    assert found["settings"]["cores"] == 2
