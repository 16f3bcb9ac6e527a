"""What a task is going to change: pure data, the same in check mode and in a real run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.jotunheim.pve.plugins.plugin_utils.properties import Properties, differing

MASK = "********"


@dataclass(frozen=True)
class Change:
    """One line of the diff. Never holds a secret."""

    key: str
    before: Any
    after: Any


@dataclass(frozen=True)
class Resize:
    """A disk to be grown to an absolute size in bytes."""

    disk: str
    size_bytes: int


@dataclass
class Plan:
    """Everything one task changes in a VM's configuration.

    Attributes:
        writes: parameters of the one configuration PUT.
        deletes: configuration keys that this PUT removes.
        resizes: disks to grow afterwards.
        changes: the diff, key by key.
    """

    writes: dict[str, Any] = field(default_factory=dict)
    deletes: list[str] = field(default_factory=list)
    resizes: list[Resize] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.changes)

    def __iadd__(self, other: Plan) -> Plan:
        self.writes.update(other.writes)
        self.deletes.extend(other.deletes)
        self.resizes.extend(other.resizes)
        self.changes.extend(other.changes)
        return self

    def set(
        self, key: str, before: Any, after: Any, *, sent: Any = None, shown_as: str | None = None
    ) -> None:
        """Set a key, when it differs. `sent` is PVE's spelling of `after`; `shown_as` the diff's key."""
        if before == after:
            return
        self.writes[key] = after if sent is None else sent
        self.changes.append(Change(shown_as or key, before, after))

    def remove(self, key: str, before: Any, *, shown_as: str | None = None) -> None:
        """Remove a key, when it is there (`before` is not None)."""
        if before is None:
            return
        self.deletes.append(key)
        self.changes.append(Change(shown_as or key, before, None))

    def set_properties(self, key: str, before: Properties, after: Properties) -> None:
        """Set a property string; the diff names only the options that change, so a kept MAC never shows."""
        keys = differing(before, after)
        if not keys:
            return
        self.writes[key] = str(after)
        self.changes.extend(
            Change(f"{key}.{option}", before.get(option), after.get(option)) for option in keys
        )

    def set_secret(self, key: str, value: str, *, known: bool) -> None:
        """Set a value that the diff must not show; `known`: whether there was one before."""
        self.writes[key] = value
        self.changes.append(Change(key, MASK if known else None, MASK))

    def applied_to(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """The configuration afterwards, without secrets; for tasks that follow in check mode."""
        shown = {change.key: change.after for change in self.changes if change.after == MASK}
        after = {key: value for key, value in config.items() if key not in self.deletes}
        after |= self.writes | shown
        for resize in self.resizes:
            volume = Properties(str(after[resize.disk]), "file")
            volume["size"] = str(resize.size_bytes)
            after[resize.disk] = str(volume)
        return after

    def diff(self) -> dict[str, dict[str, Any]]:
        """Ansible's ``before`` and ``after``, with only what changes."""
        return {
            "before": {change.key: change.before for change in self.changes},
            "after": {change.key: change.after for change in self.changes},
        }
