"""One case of a matrix: from the moment when the job is queued to the verdict."""

from collections.abc import Callable
from contextlib import suppress

import httpx
import pytest

from tests.faults.cases import Scene, Stage
from tests.faults.known import KNOWN
from tests.faults.tally import RESULTS, Result
from tests.faults.world import SECONDS_FOR_A_JOB, World, differences
from tests.support.processes import wait_for

SHOWN = 12

Try = Callable[[World, Scene, int], str | None]
"""Lets the job of a scene meet something at a place of its run; returns the code of the error that it failed
with before it was finished, or None. Raises AssertionError when something was lost."""


class Matrix:
    """Tries places of a run one after the other, and fails at the end with all that were lost."""

    def __init__(self, config: pytest.Config, stage: Stage, matrix: str, scene: Scene, met: str) -> None:
        self._results = config.stash[RESULTS]
        self._world = stage.world
        self._matrix = matrix
        self._scene = scene
        self._met = met
        self._surprises: list[str] = []

    def attempt(self, place: int, attempt: Try) -> None:
        """Try one place, and count it."""
        label = f"{place + 1} {self._scene.requests[place]}"
        code, lost = None, ""
        self._world.bring_back(self._scene.queued)
        try:
            code = attempt(self._world, self._scene, place)
        except (AssertionError, httpx.HTTPError) as error:
            lost = str(error) or repr(error)
            with suppress(AssertionError):
                self._world.rest()  # whatever it is at: the next case begins anew
        known = KNOWN.get((self._matrix, self._scene.case.name, f"{self._met} {label}"))
        self._results.append(
            Result(self._matrix, self._scene.case.name, self._met, label, code, lost, known if lost else None)
        )
        if lost and known is None:
            self._surprises.append(f"{label}: {lost}")
        if known is not None and not lost:
            self._surprises.append(f"{label}: was mended; take it out of `known.py`")

    def end(self) -> None:
        """Fail with everything that was lost and is not known."""
        assert not self._surprises, f"{len(self._surprises)} lost:\n" + "\n".join(self._surprises)


def assert_as_wanted(world: World, scene: Scene, *, without_job: str | None = None) -> None:
    """All is as an undisturbed run leaves it: VMs, volumes, records, and nothing beside them."""
    found = differences(scene.wanted, world.picture(scene.queued, without_job=without_job))
    found += world.troubles()
    assert not found, "\n    ".join(found[:SHOWN])


def wait_until_struck(world: World, scene: Scene, *, silenced: bool = False) -> None:
    """Wait until the armed fault has found its request; silenced: and keeps it waiting for an answer."""
    key = "silenced" if silenced else "struck"

    def struck() -> bool:
        return bool(world.faults()[0][key])

    wait_for(
        lambda: struck() or world.is_over(scene.job_id), "the fault to strike", seconds=SECONDS_FOR_A_JOB
    )
    assert struck(), "the run ended without this request: it is not reproducible"


def assert_met(world: World, scene: Scene, place: int) -> None:
    """The request that met the fault is the one that the undisturbed run sent at this place."""
    (found,) = world.requests()[place : place + 1]
    assert found == scene.requests[place], f"the run sent {found} in its place: it is not reproducible"
