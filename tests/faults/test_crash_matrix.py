"""Workers that are killed at any request of any job: the next worker finishes it, and nothing is lost or doubled."""

from typing import Any

import pytest

from jotunheim.bootstrap import worker
from tests.faults.cases import CASES, Case, Scene, Stage
from tests.faults.plan import AFTER, BEFORE, DURING
from tests.faults.troubles import any_request, changing, starting_a_task
from tests.faults.trying import Matrix, assert_as_wanted, assert_met, wait_until_struck
from tests.faults.world import World
from tests.support.processes import wait_for

# A read has no effect: killed before it is killed after it.
MEETS = {BEFORE: any_request, AFTER: changing, DURING: starting_a_task}


def test_every_kind_of_job_has_a_case() -> None:
    assert {case.type for case in CASES} == worker.KINDS.keys()


def test_a_killed_workers_job_is_finished_as_if_nothing_had_happened(
    stage: Stage, case: Case, moment: str, whole: bool, pytestconfig: pytest.Config
) -> None:
    scene = stage.scene(case)
    places = [n for n in range(len(scene.requests)) if MEETS[moment](scene, n)]
    if not whole:
        places = [n for n in places if changing(scene, n)][:1]
    matrix = Matrix(pytestconfig, stage, "crash", scene, moment)

    def killed(world: World, scene: Scene, place: int) -> None:
        if moment == DURING:
            _kill_while_the_task_runs(world, scene, place)
        else:
            _kill_at_the_request(world, scene, place, moment)
        assert_met(world, scene, place)
        world.lift_faults()
        world.end_leases()
        world.work()
        job: dict[str, Any] = world.finished(scene.job_id)
        assert (job["status"], job["attempt"]) == ("succeeded", 2), job["error"]
        assert_as_wanted(world, scene)

    for place in places:
        matrix.attempt(place, killed)
    matrix.end()


def _kill_at_the_request(world: World, scene: Scene, place: int, moment: str) -> None:
    """Kill the worker when the request has come, or when it has had its effect; it is never answered."""
    world.arm(index=place + 1, silent=True, when=moment)
    world.work()
    wait_until_struck(world, scene, silenced=True)
    world.kill_worker()


def _kill_while_the_task_runs(world: World, scene: Scene, place: int) -> None:
    """Kill the worker when the request has started its task, which goes on while the next worker begins."""
    world.arm(index=place + 1, delay=1.0)
    world.work()
    wait_until_struck(world, scene)
    noted = world.tasks_noted()
    with world.slow_node():
        wait_for(lambda: world.tasks_noted() > noted, "the task to be noted")
        assert world.runs_a_task()
        world.kill_worker()
