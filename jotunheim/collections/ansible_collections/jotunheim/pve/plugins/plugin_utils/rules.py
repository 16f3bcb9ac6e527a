"""A VM's firewall rules as one list: what differs from what is wanted, and the way there.

Proxmox VE only inserts rules before all others, and addresses them by position. The way from a list to another one:

1. New rules are inserted switched off, moved to their places, and switched on from the first to the last.
2. Policies are changed (by the caller, between `insert` and `remove`).
3. Rules that are not wanted are deleted, from the last to the first.

So at any moment each packet is treated as by the old list with its policies or as by the new one with its own, never in
a third way. In 1, the first rule that matches is an old one, and then it is the old list's first match; or a new one, and
then all new rules before it are on, so it is the new list's first match. In 3 likewise, with the rules that go.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from ansible_collections.jotunheim.pve.plugins.plugin_utils.vm import Vm

from jotunheim.exceptions.repository import ProxmoxConfigChangedError

PVE_NAMES = {
    "direction": "type",
    "action": "action",
    "macro": "macro",
    "protocol": "proto",
    "source": "source",
    "destination": "dest",
    "source_port": "sport",
    "destination_port": "dport",
    "comment": "comment",
}
"""What Proxmox VE calls the parts of a rule; `enabled` is its `enable`."""
_NO_PART = frozenset({"pos", "digest", "ipversion"})
_OPTIONAL = frozenset(PVE_NAMES.values()) - {"type", "action"}

Rule = frozenset[tuple[str, str]]
"""A rule in Proxmox VE's own words, so that two that say the same are equal."""


class Place(Enum):
    """What becomes of a rule on the way."""

    KEPT = "kept"
    NEW = "new"
    EXTRA = "extra"


@dataclass(frozen=True)
class Read:
    """The rules that a VM has, and Proxmox VE's digest of them; None: there are none."""

    rules: list[Rule]
    digest: str | None


def wanted_rule(rule: Mapping[str, Any]) -> Rule:
    """A rule of a plugin's argument."""
    parts = {pve: str(rule[name]) for name, pve in PVE_NAMES.items() if rule.get(name) not in (None, "")}
    return frozenset({**parts, "enable": "1" if rule["enabled"] else "0"}.items())


def read(vm: Vm) -> Read:
    """All rules of a VM, in their order."""
    listed = sorted(vm.client.get(vm.path("firewall", "rules")), key=lambda entry: int(entry["pos"]))
    digest = str(listed[0]["digest"]) if listed else None
    return Read([_rule(entry) for entry in listed], digest)


def shown(rules: Iterable[Rule]) -> list[str]:
    """Rules for a diff, one line each, e.g. `in ACCEPT tcp dport 22 # ssh`."""
    return [_line(dict(rule)) for rule in rules]


class Way:
    """The way from the rules that a VM has to those that are wanted.

    Args:
        live: the rules are in force while they are changed; otherwise any order will do.
        swaps: one rule may be changed in place: nothing but the rules changes.
    """

    def __init__(
        self, vm: Vm, found: Read, wanted: Sequence[Rule], *, live: bool = True, swaps: bool = False
    ) -> None:
        self._vm = vm
        self._now = list(found.rules)
        self._digest = found.digest
        self._live = live
        self._merged = merge(found.rules, wanted)
        places = [place for place, _ in self._merged if place is not Place.KEPT]
        self._swap = swaps and live and places == [Place.NEW, Place.EXTRA] and self._is_adjacent()
        self.wrote = False

    def _is_adjacent(self) -> bool:
        position = next(i for i, (place, _) in enumerate(self._merged) if place is Place.NEW)
        return self._merged[position + 1][0] is Place.EXTRA

    def forget_digest(self) -> None:
        """Something else of the firewall was written, and Proxmox VE's digest may go over all of it."""
        self._digest = None

    def insert(self) -> None:
        """Bring in what is new, so that it counts."""
        if self._swap:
            self._change_in_place()
            return
        later = self._place_new()
        for rule, position in later:
            self._put(position, enable=1)
            self._now[position] = rule

    def remove(self) -> None:
        """Delete what is not wanted, the last one first."""
        if self._swap:
            return
        for position in reversed([i for i, (place, _) in enumerate(self._merged) if place is Place.EXTRA]):
            self._vm.client.delete(self._path(position), digest=self._fresh_digest())
            self._written()
            del self._now[position]

    def _place_new(self) -> list[tuple[Rule, int]]:
        """Insert the new rules, the last one first; returns those that are still to be switched on, the first one first."""
        leading = _leading(self._merged)
        later: list[tuple[Rule, int]] = []
        for index in reversed(range(len(self._merged))):
            place, rule = self._merged[index]
            if place is not Place.NEW:
                continue
            position = sum(1 for other, _ in self._merged[:index] if other is not Place.NEW)
            off = self._live and ("enable", "1") in rule and index >= leading
            sent = _switched_off(rule) if off else rule
            self._vm.client.post(self._vm.path("firewall", "rules"), **dict(sent))
            self._written()
            self._now.insert(0, sent)
            if position:
                self._put(0, moveto=position + 1)
                self._now.insert(position, self._now.pop(0))
            if off:
                later.insert(0, (rule, index))
        return later

    def _change_in_place(self) -> None:
        position = next(i for i, (place, _) in enumerate(self._merged) if place is Place.NEW)
        rule, old = self._merged[position][1], self._merged[position + 1][1]
        parts = dict(rule)
        gone = sorted(name for name in dict(old).keys() - parts.keys() if name not in {"type", "action"})
        self._put(position, delete=",".join(gone) or None, **parts)

    def _put(self, position: int, **parts: Any) -> None:
        self._vm.client.put(self._path(position), digest=self._fresh_digest(), **parts)
        self._written()

    def _path(self, position: int) -> str:
        return self._vm.path("firewall", "rules", position)

    def _written(self) -> None:
        self.wrote = True
        self.forget_digest()  # ours is a new version

    def _fresh_digest(self) -> str:
        """Proxmox VE's digest of the rules as they should be now: a position names a rule only with it.

        Raises:
            ProxmoxConfigChangedError: they are others.
        """
        if self._digest is None:
            found = read(self._vm)
            if found.rules != self._now or found.digest is None:
                raise ProxmoxConfigChangedError(
                    f"Somebody else changes the firewall rules of VM {self._vm.vmid} at the same time.",
                    hint="Try again.",
                )
            self._digest = found.digest
        return self._digest


def merge(found: Sequence[Rule], wanted: Sequence[Rule]) -> list[tuple[Place, Rule]]:
    """Both lists in one, each in its order; as many rules as possible are kept. New ones stand before those that go."""
    common = _common_lengths(found, wanted)
    merged: list[tuple[Place, Rule]] = []
    i = j = 0
    while i < len(found) or j < len(wanted):
        if i < len(found) and j < len(wanted) and found[i] == wanted[j]:
            merged.append((Place.KEPT, found[i]))
            i, j = i + 1, j + 1
        elif j < len(wanted) and (i == len(found) or common[i][j + 1] >= common[i + 1][j]):
            merged.append((Place.NEW, wanted[j]))
            j += 1
        else:
            merged.append((Place.EXTRA, found[i]))
            i += 1
    return merged


def _common_lengths(one: Sequence[Rule], other: Sequence[Rule]) -> list[list[int]]:
    """For each pair of positions how many rules the lists have in common from there on."""
    lengths = [[0] * (len(other) + 1) for _ in range(len(one) + 1)]
    for i in reversed(range(len(one))):
        for j in reversed(range(len(other))):
            same = one[i] == other[j]
            lengths[i][j] = 1 + lengths[i + 1][j + 1] if same else max(lengths[i + 1][j], lengths[i][j + 1])
    return lengths


def _leading(merged: Sequence[tuple[Place, Rule]]) -> int:
    """How many new rules stand before all others and do the same: among them the order in which they appear is of no matter."""
    count = 0
    while count < len(merged):
        place, rule = merged[count]
        if place is not Place.NEW or dict(rule)["action"] != dict(merged[0][1])["action"]:
            break
        count += 1
    return count


def _switched_off(rule: Rule) -> Rule:
    return frozenset({**dict(rule), "enable": "0"}.items())


def _rule(entry: Mapping[str, Any]) -> Rule:
    parts = {name: str(value) for name, value in entry.items() if name not in _NO_PART}
    parts["enable"] = "1" if int(entry.get("enable", 0)) else "0"
    return frozenset(parts.items())


def _line(parts: dict[str, str]) -> str:
    words = [parts.pop("type"), parts.pop("action")]
    off, comment = parts.pop("enable") == "0", parts.pop("comment", "")
    words += [parts.pop(name) for name in ("macro", "proto") if name in parts]
    words += [f"{name} {parts[name]}" for name in sorted(parts)]
    words += ["(off)"] if off else []
    words += [f"# {comment}"] if comment else []
    return " ".join(words)
