"""Firewall rules change so that each packet is treated as before or as it is wanted, at every moment."""

import random
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import pytest
from ansible_collections.jotunheim.pve.plugins.plugin_utils.rules import Rule, Way, read, wanted_rule

from jotunheim.exceptions.repository import ProxmoxConfigChangedError

PACKETS = "abc"
Verdicts = dict[str, str]


class Firewall:
    """Rules as Proxmox VE keeps them, and what they do to packets; it is the VM and its client in one.

    Args:
        watch: called after each change.
    """

    vmid = 100

    def __init__(self, rules: Sequence[Rule], watch: Callable[["Firewall"], None] = lambda _: None) -> None:
        self.rules: list[dict[str, str]] = [dict(rule) for rule in rules]
        self.client = self
        self.version = 0
        self.writes: list[str] = []
        self._watch = watch

    def path(self, *parts: object) -> str:
        return "/".join(map(str, parts))

    def get(self, _path: str) -> list[dict[str, Any]]:
        return [{**rule, "pos": at, "digest": str(self.version)} for at, rule in enumerate(self.rules)]

    def post(self, _path: str, /, **parts: str) -> None:
        self.rules.insert(0, parts)
        self._written("POST")

    def put(self, path: str, *, digest: str, moveto: int | None = None, **parts: Any) -> None:
        position = self._position(path, digest)
        if moveto is not None:
            rule = self.rules.pop(position)
            self.rules.insert(moveto - (1 if moveto > position else 0), rule)
        else:
            gone = (parts.pop("delete", None) or "").split(",")
            kept = {name: value for name, value in self.rules[position].items() if name not in gone}
            self.rules[position] = kept | {name: str(value) for name, value in parts.items()}
        self._written("PUT")

    def delete(self, path: str, *, digest: str) -> None:
        del self.rules[self._position(path, digest)]
        self._written("DELETE")

    def _position(self, path: str, digest: str) -> int:
        assert digest == str(self.version)
        return int(path.rpartition("/")[2])

    def _written(self, method: str) -> None:
        self.version += 1
        self.writes.append(method)
        self._watch(self)

    def verdicts(self, policy: str) -> Verdicts:
        """What becomes of each packet."""
        return {packet: self._verdict(packet, policy) for packet in PACKETS}

    def _verdict(self, packet: str, policy: str) -> str:
        for rule in self.rules:
            if rule["enable"] == "1" and packet in rule.get("source", PACKETS):
                return rule["action"]
        return policy


def rule(source: str = "", action: str = "ACCEPT", *, enabled: bool = True) -> Rule:
    return wanted_rule({"direction": "in", "action": action, "source": source, "enabled": enabled})


def changed(firewall: Firewall, wanted: Sequence[Rule], *, swaps: bool = False, live: bool = True) -> None:
    """Bring a firewall to these rules, whose policy is changed where that belongs."""
    way = Way(firewall, read(firewall), wanted, live=live, swaps=swaps)  # type: ignore[arg-type]
    way.insert()
    way.remove()
    assert read(firewall).rules == list(wanted)  # type: ignore[arg-type]


def test_no_packet_is_ever_treated_in_a_third_way() -> None:
    for seed in range(300):
        watched(random.Random(seed))


def watched(chance: random.Random) -> None:
    """Change some rules to others, and look after each change at what becomes of packets."""

    def some() -> list[Rule]:
        sources = ("", "a", "b", "c", "ab", "bc")
        return [
            rule(chance.choice(sources), chance.choice(("ACCEPT", "DROP")), enabled=chance.random() < 0.9)
            for _ in range(chance.randint(0, 5))
        ]

    old, new = some(), some()
    new += chance.sample(old, chance.randint(0, len(old)))
    chance.shuffle(new)
    policy, wanted_policy = chance.choice(("ACCEPT", "DROP")), chance.choice(("ACCEPT", "DROP"))
    before, after = Firewall(old).verdicts(policy), Firewall(new).verdicts(wanted_policy)
    now = policy

    def look(firewall: Firewall) -> None:
        for packet, verdict in firewall.verdicts(now).items():
            assert verdict in (before[packet], after[packet])

    firewall = Firewall(old, look)
    way = Way(firewall, read(firewall), new, swaps=policy == wanted_policy)  # type: ignore[arg-type]
    way.insert()
    now = wanted_policy
    look(firewall)
    way.remove()
    assert read(firewall).rules == new  # type: ignore[arg-type]
    assert firewall.verdicts(now) == after


@pytest.mark.parametrize(
    ("old", "new", "writes"),
    [
        ([], [rule("a"), rule("b"), rule("c")], ["POST"] * 3),
        ([rule("b")], [rule("a"), rule("b")], ["POST"]),
        ([rule("a")], [rule("a"), rule("b")], ["POST", "PUT", "PUT"]),
        ([rule("a"), rule("b"), rule("c")], [rule("a"), rule("c")], ["DELETE"]),
        ([rule("a"), rule("b"), rule("c")], [rule("a"), rule("b", "DROP"), rule("c")], ["PUT"]),
        ([rule("a")], [rule("a", enabled=False)], ["PUT"]),
        ([rule("a"), rule("b")], [rule("b"), rule("a")], ["POST", "DELETE"]),
        ([rule("a")], [rule("a")], []),
    ],
)
def test_what_stays_is_left_alone(old: Sequence[Rule], new: Sequence[Rule], writes: list[str]) -> None:
    firewall = Firewall(old)
    changed(firewall, new, swaps=True)
    assert firewall.writes == writes


def test_a_change_by_somebody_else_is_noticed_before_the_next_position_is_used() -> None:
    def meddle(firewall: Firewall) -> None:
        if firewall.writes == ["DELETE"]:
            firewall.rules.append(dict(rule("b", "DROP")))

    firewall = Firewall([rule("a"), rule("b"), rule("c")], meddle)
    with pytest.raises(ProxmoxConfigChangedError):
        changed(firewall, [])
    assert firewall.writes == ["DELETE"]


def test_a_rule_with_parts_that_we_do_not_set_is_another_one() -> None:
    by_hand: Mapping[str, str] = dict(rule("a")) | {"log": "info", "iface": "net0"}
    firewall = Firewall([frozenset(by_hand.items())])
    changed(firewall, [rule("a")], swaps=True)
    assert firewall.writes == ["PUT"]
    assert all(set(one) == set(other) for one, other in pairwise(firewall.rules))
