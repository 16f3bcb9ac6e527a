"""Workers that are killed, paused or told to go: their jobs are carried out once, by somebody."""

import os
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.processes import wait_for
from tests.support.sandbox import Sandbox
from tests.support.service import Service


def _children(pid: int) -> set[int]:
    """All processes below a process."""
    found: set[int] = set()
    listing = subprocess.run(
        ["ps", "-e", "-o", "pid=,ppid="], capture_output=True, text=True, check=True
    ).stdout
    pairs = [tuple(map(int, line.split())) for line in listing.splitlines()]
    wave = {pid}
    while wave:
        wave = {child for child, parent in pairs if parent in wave} - found
        found |= wave
    return found


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def slow_clone(sandbox: Sandbox) -> Sandbox:
    """The next clone's answer comes late: the clone has begun, and its task id is not known yet."""
    fault = {"method": "POST", "path": "/clone$", "when": "after", "delay": 2.5, "count": 1}
    sandbox.control.post("/faults", json=fault).raise_for_status()
    return sandbox


def _in_the_middle_of_the_clone(service: Service, sandbox: Sandbox, clones_before: int) -> None:
    wait_for(lambda: len(sandbox.clone_tasks()) > clones_before, "the clone to begin")


def test_a_killed_workers_job_is_finished_by_another_with_one_clone(
    fresh_service: Service, slow_clone: Sandbox
) -> None:
    fresh_service.add_infrastructure(slow_clone)
    clones = len(slow_clone.clone_tasks())
    vms = slow_clone.vmids()
    worker = fresh_service.start_worker()
    created = fresh_service.create_server("orphan", password="some-Passw0rd")
    _in_the_middle_of_the_clone(fresh_service, slow_clone, clones)
    children = _children(worker.pid)
    assert children
    fresh_service.kill_worker(worker)
    wait_for(lambda: not any(_alive(pid) for pid in children), "the run to die with its worker", seconds=5)

    fresh_service.start_worker()
    job = fresh_service.finished(created["job"]["id"])
    assert job["status"] == "succeeded", job
    assert job["attempt"] == 2
    assert len(slow_clone.clone_tasks()) == clones + 1
    server = fresh_service.read(f"servers/{created['server']['id']}")["server"]
    assert slow_clone.vmids() - vms == {server["vmid"]}
    assert list((fresh_service.state / "runs").iterdir()) == []


def test_a_paused_worker_that_wakes_up_too_late_changes_nothing(
    fresh_service: Service, slow_clone: Sandbox
) -> None:
    fresh_service.add_infrastructure(slow_clone)
    clones = len(slow_clone.clone_tasks())
    sleeper = fresh_service.start_worker()
    created = fresh_service.create_server("sleeper")
    _in_the_middle_of_the_clone(fresh_service, slow_clone, clones)
    frozen = {sleeper.pid, *_children(sleeper.pid)}
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    fresh_service.start_worker()
    job = fresh_service.finished(created["job"]["id"])
    assert (job["status"], job["attempt"]) == ("succeeded", 2), job
    for pid in frozen:
        os.kill(pid, signal.SIGCONT)
    time.sleep(2)
    assert fresh_service.read(f"jobs/{job['id']}")["job"] == job
    assert len(slow_clone.clone_tasks()) == clones + 1


def test_a_lost_workers_job_goes_before_those_that_wait(fresh_service: Service, slow_clone: Sandbox) -> None:
    fresh_service.add_infrastructure(slow_clone)
    clones = len(slow_clone.clone_tasks())
    worker = fresh_service.start_worker(JOTUNHEIM_WORKER_CONCURRENCY="1")
    lost = fresh_service.create_server("lost", start=False)
    _in_the_middle_of_the_clone(fresh_service, slow_clone, clones)
    waiting = [fresh_service.create_server(f"waiting-{number}", start=False) for number in range(8)]
    fresh_service.kill_worker(worker)
    fresh_service.start_worker(JOTUNHEIM_WORKER_CONCURRENCY="1")
    finished = fresh_service.finished(lost["job"]["id"])
    assert finished["status"] == "succeeded"
    left = [fresh_service.read(f"jobs/{server['job']['id']}")["job"]["status"] for server in waiting]
    assert left.count("queued") >= 3, left
    for server in waiting:
        fresh_service.finished(server["job"]["id"])


def test_a_worker_whose_lease_ran_out_never_runs_the_same_job_twice_at_once(
    fresh_service: Service, slow_clone: Sandbox
) -> None:
    fresh_service.add_infrastructure(slow_clone)
    clones = len(slow_clone.clone_tasks())
    fresh_service.start_worker(JOTUNHEIM_LEASE_SECONDS="30", JOTUNHEIM_SWEEP_SECONDS="0.1")
    created = fresh_service.create_server("clock-step", start=False)
    _in_the_middle_of_the_clone(fresh_service, slow_clone, clones)
    with sqlite3.connect(fresh_service.state / "jotunheim.db", timeout=10) as raw:
        raw.execute("UPDATE job SET lease_expires_at = 0 WHERE status = 'running'")
    raw.close()
    job = fresh_service.finished(created["job"]["id"])
    assert job["status"] == "succeeded", job
    assert len(slow_clone.clone_tasks()) == clones + 1
    assert "Traceback" not in (fresh_service.state / "worker.log").read_text()


def test_a_job_that_is_announced_twice_runs_once(fresh_service: Service, sandbox: Sandbox) -> None:
    fresh_service.add_infrastructure(sandbox)
    fresh_service.start_worker(JOTUNHEIM_SWEEP_SECONDS="0.005")
    for name in ("told-1", "told-2", "told-3"):
        fresh_service.built(name, start=False)
    log = (fresh_service.state / "worker.log").read_text()
    assert "handed over" not in log
    assert log.count(" begins, attempt ") == 3


def test_a_job_that_nobody_was_told_about_is_found(fresh_service: Service, sandbox: Sandbox) -> None:
    fresh_service.add_infrastructure(sandbox)
    created = fresh_service.create_server("unannounced", start=False)
    for name in fresh_service.state.glob("queue.db*"):
        name.unlink()
    fresh_service.start_worker()
    assert fresh_service.finished(created["job"]["id"])["status"] == "succeeded"


def test_a_worker_told_to_go_finishes_its_run_and_claims_nothing_more(
    fresh_service: Service, slow_clone: Sandbox
) -> None:
    fresh_service.add_infrastructure(slow_clone)
    clones = len(slow_clone.clone_tasks())
    worker = fresh_service.start_worker(JOTUNHEIM_WORKER_CONCURRENCY="1")
    first = fresh_service.create_server("last-one", start=False)
    _in_the_middle_of_the_clone(fresh_service, slow_clone, clones)
    second = fresh_service.create_server("too-late", start=False)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(20) == 0
    assert fresh_service.read(f"jobs/{first['job']['id']}")["job"]["status"] == "succeeded"
    assert fresh_service.read(f"jobs/{second['job']['id']}")["job"]["status"] == "queued"


def test_a_worker_with_no_time_to_drain_hands_its_job_over(
    fresh_service: Service, slow_clone: Sandbox
) -> None:
    fresh_service.add_infrastructure(slow_clone)
    clones = len(slow_clone.clone_tasks())
    worker = fresh_service.start_worker(JOTUNHEIM_DRAIN_SECONDS="0")
    created = fresh_service.create_server("handed-over", start=False)
    _in_the_middle_of_the_clone(fresh_service, slow_clone, clones)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(20) == 0
    job = fresh_service.read(f"jobs/{created['job']['id']}")["job"]
    assert (job["status"], job["attempt"]) == ("queued", 0), job
    fresh_service.start_worker()
    job = fresh_service.finished(created["job"]["id"])
    assert (job["status"], job["attempt"]) == ("succeeded", 1), job
    assert len(slow_clone.clone_tasks()) == clones + 1
