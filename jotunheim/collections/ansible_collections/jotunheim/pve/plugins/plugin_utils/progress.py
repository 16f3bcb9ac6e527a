"""How far a rebuild is, as the VM itself says it: service lines in its description, the oldest first.

Each is written in the same request as the step that it documents, so a crash finds both or neither.

``jotunheim:replaced=<key>=<value>``: the key's value before the swap, whole; an empty one: there was no such
key. Written when the old disk is detached. Those below the last rebuild line belong to a swap that is under
way, and are what leads back; those above it belong to finished swaps whose old disks still have to go.

Two keys are none of the configuration, and go when the swap is done: ``by``, the id of the rebuild that swaps,
and ``status``, noted if the VM ran before.

``jotunheim:rebuild=<id>``: the rebuild with this id has swapped the disks. In a scratch VM: whose it is.

``jotunheim:discarded=<volume>``: a new disk that a swap had attached before it was taken back; it has to go.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from ansible_collections.jotunheim.pve.plugins.plugin_utils.ownership import service_lines

_REPLACED = "jotunheim:replaced="
_REBUILD = "jotunheim:rebuild="
_DISCARDED = "jotunheim:discarded="
_BY = "by"
_STATUS = "status"
_RUNNING = "running"
_TEMPORARY = (f"{_REPLACED}{_BY}=", f"{_REPLACED}{_STATUS}=")


def rebuild_line(rebuild_id: str) -> str:
    """The line that says which rebuild made a VM's disk."""
    return f"{_REBUILD}{rebuild_id}"


@dataclass(frozen=True)
class Progress:
    """The service lines of one VM."""

    lines: tuple[str, ...]

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Self:
        """As the configuration has them."""
        return cls(tuple(service_lines(config)))

    @property
    def rebuild_id(self) -> str | None:
        """The last rebuild that swapped the disks."""
        found = [line.removeprefix(_REBUILD) for line in self.lines if line.startswith(_REBUILD)]
        return found[-1] if found else None

    @property
    def under_way(self) -> dict[str, str]:
        """Keys and old values of the swap that is under way; empty: none is."""
        return {key: value for key, value in self._noted.items() if key not in {_BY, _STATUS}}

    @property
    def swapping(self) -> str | None:
        """The rebuild whose swap is under way."""
        return self._noted.get(_BY) if self.under_way else None

    @property
    def ran(self) -> bool:
        """Whether the VM ran before the swap that is under way."""
        return self._noted.get(_STATUS) == _RUNNING

    @property
    def left_over_volumes(self) -> list[str]:
        """The volumes that have to go: discarded ones, then finished swaps' old disks, the last one last."""
        values = [_split(line)[1] for line in _of(_REPLACED, self.lines[: self._finished])]
        old = [value.partition(",")[0] for value in values if ":" in value.partition(",")[0]]
        return [*self.discarded, *old]

    @property
    def discarded(self) -> list[str]:
        """The volumes of new disks that were taken off again."""
        return [line.removeprefix(_DISCARDED) for line in self.lines if line.startswith(_DISCARDED)]

    def is_swapped(self, rebuild_id: str) -> bool:
        """Whether this rebuild has swapped the disks, and no other is swapping them."""
        return self.rebuild_id == rebuild_id and not self.under_way

    def begun(self, replaced: Iterable[tuple[str, str]], rebuild_id: str, *, running: bool) -> list[str]:
        """The lines when a rebuild begins to swap. `running`: whether the VM ran before."""
        noted = [*replaced, (_BY, rebuild_id)]
        if running:
            noted.append((_STATUS, _RUNNING))
        return [*self.lines, *(f"{_REPLACED}{key}={value}" for key, value in noted)]

    def swapped(self, rebuild_id: str) -> list[str]:
        """The lines when the swap under way is done."""
        kept = [line for line in self.lines if not line.startswith((_REBUILD, *_TEMPORARY))]
        return [*kept, rebuild_line(rebuild_id)]

    def undone(self, discarded: str | None = None) -> list[str]:
        """The lines when the swap under way has been taken back, and its new disk taken off, if it had one."""
        kept = [*self.lines[: self._finished], *_of(_DISCARDED, self.lines[self._finished :])]
        return kept if discarded is None else [*kept, f"{_DISCARDED}{discarded}"]

    def without_discarded(self) -> list[str]:
        """The lines when the discarded disks are gone."""
        return [line for line in self.lines if not line.startswith(_DISCARDED)]

    def cleaned(self) -> list[str]:
        """The lines when the volumes that have to go are gone."""
        return _of(_REBUILD, self.lines) + _of(_REPLACED, self.lines[self._finished :])

    @property
    def _noted(self) -> dict[str, str]:
        return dict(_split(line) for line in _of(_REPLACED, self.lines[self._finished :]))

    @property
    def _finished(self) -> int:
        """How many lines there are up to the last rebuild line."""
        numbers = [number for number, line in enumerate(self.lines) if line.startswith(_REBUILD)]
        return numbers[-1] + 1 if numbers else 0


def _of(kind: str, lines: Iterable[str]) -> list[str]:
    return [line for line in lines if line.startswith(kind)]


def _split(line: str) -> tuple[str, str]:
    key, _, value = line.removeprefix(_REPLACED).partition("=")
    return key, value
