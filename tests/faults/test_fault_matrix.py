"""Requests that go wrong in every way, at any place of any job: it ends well or says why, and a retry finishes it."""

import time
from typing import Any

import pytest

from tests.faults.cases import Case, Scene, Stage
from tests.faults.troubles import RETRYABLE, Trouble
from tests.faults.trying import Matrix, assert_as_wanted, assert_met, wait_until_struck
from tests.faults.world import World


def test_a_job_that_meets_trouble_ends_well_or_is_finished_by_a_retry(
    stage: Stage, case: Case, trouble: Trouble, whole: bool, pytestconfig: pytest.Config
) -> None:
    scene = stage.scene(case)
    places = [n for n in range(len(scene.requests)) if trouble.meets(scene, n)]
    matrix = Matrix(pytestconfig, stage, "fault", scene, trouble.name)

    def meets(world: World, scene: Scene, place: int) -> str | None:
        job = _first_end(world, scene, place, trouble)
        assert_met(world, scene, place)
        if job["status"] == "succeeded":
            untold = (job["result"] or {}).get("lacking")
            if untold:  # a sync goes on without what it may not see, and says so
                assert trouble.fault["message"] in untold[0]
                assert world.finished(scene.case.ask(world, scene.servers))["status"] == "succeeded"
            assert_as_wanted(world, scene, without_job=scene.job_id if untold else None)
            return None
        _assert_clear(job, trouble)
        again = _tried_again(world, scene)
        assert again["status"] == "succeeded", f"after {job['error']}, again: {again['error']}"
        assert_as_wanted(world, scene, without_job=scene.job_id if scene.case.anew else None)
        return str(job["error"]["code"])

    for place in places if whole else places[:1]:
        matrix.attempt(place, meets)
    matrix.end()


def _first_end(world: World, scene: Scene, place: int, trouble: Trouble) -> dict[str, Any]:
    """The job, once it has met the trouble and ended; afterwards the trouble is gone."""
    if trouble.lasting:
        world.arm(**trouble.fault, path=".", skip=place, count=None)
    else:
        world.arm(**trouble.fault, index=place + 1)
    world.work(**trouble.settings)
    wait_until_struck(world, scene)
    if trouble.passes is not None:
        gone = time.monotonic() + trouble.passes
        while time.monotonic() < gone and not world.is_over(scene.job_id):
            time.sleep(0.02)
        world.lift_faults()
    job = world.finished(scene.job_id)
    world.lift_faults()
    world.stop_tasks()
    return job


def _assert_clear(job: dict[str, Any], trouble: Trouble) -> None:
    """The error has a code of the table, says rightly whether a retry helps, and what a person can do."""
    error = job["error"]
    assert job["status"] == "failed", job
    assert error["code"] in trouble.codes, error
    assert error["retryable"] is RETRYABLE[error["code"]], error
    assert error["message"], error
    assert error["hint"], error


def _tried_again(world: World, scene: Scene) -> dict[str, Any]:
    """The job after a retry; where the kind refuses one by design, the job of the same request asked anew."""
    world.work()
    retried = world.service.http.post(f"/admin/jobs/{scene.job_id}/retry")
    if scene.case.anew:
        assert (retried.status_code, retried.json()["error"]["code"]) == (409, "conflict"), retried.text
        return world.finished(scene.case.ask(world, scene.servers))
    assert retried.is_success, retried.text
    return world.finished(scene.job_id)
