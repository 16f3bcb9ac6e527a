"""Jobs that share a run: each has its own steps, result, error, end and cancellation, whatever becomes of the others."""

import os
import re
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import end, wait_for
from tests.support.sandbox import Sandbox
from tests.support.service import Service

MANY = 12


@pytest.fixture
def service(sandbox: Sandbox, tmp_path: Path) -> Iterator[Service]:
    """A service of a test's own whose node makes many clones at once; what is asked for waits for a worker."""
    with Service.start(tmp_path / "batches", worker=False) as started:
        started.add_infrastructure(sandbox, max_concurrent_clones=2 * MANY)
        yield started


def asked(service: Service, name: str, count: int = MANY) -> list[dict[str, Any]]:
    """Creations that wait."""
    return [service.create_server(f"batch-{name}-{number}", start=False) for number in range(count)]


def ended(service: Service, created: Sequence[dict[str, Any]], **expected: int) -> list[dict[str, Any]]:
    """Their jobs when they have ended, as expected: so many of each status."""
    jobs = [service.finished(each["job"]["id"], seconds=120) for each in created]
    statuses = [job["status"] for job in jobs]
    assert {status: statuses.count(status) for status in set(statuses)} == expected, jobs
    return jobs


def batches(service: Service) -> list[int]:
    """How many jobs were carried out together, each time that there were several."""
    said = (service.state / "worker.log").read_text()
    return [int(found) for found in re.findall(r"(\d+) jobs \(\S+\) are carried out together", said)]


def strike(sandbox: Sandbox, created: dict[str, Any], path: str, **fault: Any) -> None:
    """Let a fault strike requests about one server's VM."""
    fault |= {"path": rf"^/nodes/pve1/qemu/{created['server']['vmid']}/{path}"}
    sandbox.control.post("/faults", json=fault).raise_for_status()


def test_jobs_that_wait_share_a_run_and_nothing_else(service: Service, sandbox: Sandbox) -> None:
    created = asked(service, "shared")
    service.start_worker()
    jobs = ended(service, created, succeeded=MANY)
    assert batches(service) == [MANY]
    names = [step["name"] for step in jobs[0]["steps"]]
    for job, each in zip(jobs, created, strict=True):
        assert [step["name"] for step in job["steps"]] == names
        assert (job["progress"], job["attempt"]) == (100, 1)
        assert job["upids"]
        assert all(f":{each['server']['vmid']}:" in upid for upid in job["upids"] if "qmclone" not in upid)
        config = sandbox.config(each["server"]["vmid"])
        assert config["name"] == each["server"]["name"]
        assert config["smbios1"] == f"uuid={each['server']['id']}"
    assert len({upid for job in jobs for upid in job["upids"]}) == sum(len(job["upids"]) for job in jobs)
    deletions = [service.ask(f"servers/{each['server']['id']}", method="DELETE") for each in created]
    ended(service, deletions, succeeded=MANY)
    assert sandbox.vmids().isdisjoint(each["server"]["vmid"] for each in created)


def test_one_that_fails_and_one_that_is_slow_concern_nobody_else(service: Service, sandbox: Sandbox) -> None:
    created = asked(service, "apart")
    fails, slow, *others = created
    strike(sandbox, fails, "config", method="PUT", status=500, message="no more of this", count=None)
    strike(sandbox, slow, "config", method="PUT", delay=9, count=1)
    service.start_worker()
    done = ended(service, others, succeeded=MANY - 2)
    [failed] = ended(service, [fails], failed=1)
    assert "no more of this" in failed["error"]["message"]
    assert service.read(f"jobs/{slow['job']['id']}")["job"]["status"] == "running"
    [late] = ended(service, [slow], succeeded=1)
    assert batches(service) == [MANY]
    assert all(job["finished_at"] < late["finished_at"] for job in done)
    sandbox.control.delete("/faults").raise_for_status()
    service.ask(f"jobs/{failed['id']}/retry")
    [again] = ended(service, [fails], succeeded=1)
    assert again["attempt"] == 2


def test_one_that_is_cancelled_leaves_and_the_others_go_on(service: Service, sandbox: Sandbox) -> None:
    created = asked(service, "left")
    leaves, *others = created
    for each in created:  # so that all of them are under way
        strike(sandbox, each, "firewall/options", method="PUT", delay=3, count=1)
    service.start_worker()
    vmid = leaves["server"]["vmid"]
    wait_for(lambda: vmid in sandbox.vmids() and "lock" not in sandbox.config(vmid), "its VM", seconds=60)
    service.ask(f"jobs/{leaves['job']['id']}/cancel")
    ended(service, [leaves], cancelled=1)
    assert vmid not in sandbox.vmids()
    ended(service, others, succeeded=MANY - 1)
    assert service.http.get(f"/admin/servers/{leaves['server']['id']}").status_code == 404
    assert not any(service.state.joinpath("runs").iterdir())


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_worker_that_ends_in_the_middle_loses_nothing(
    service: Service, sandbox: Sandbox, number: int
) -> None:
    created = asked(service, f"ends-{int(number)}")
    for each in created:
        strike(sandbox, each, "config", method="PUT", delay=2, count=1)
    clones = len(sandbox.clone_tasks())
    worker = service.start_worker(JOTUNHEIM_DRAIN_SECONDS="0")
    wait_for(lambda: len(sandbox.clone_tasks()) == clones + MANY, "the clones", seconds=60)
    if number == signal.SIGKILL:
        service.kill_worker(worker)
    else:
        end(worker, service.state / "worker.log")
        service.workers.remove(worker)
        assert {service.read(f"jobs/{each['job']['id']}")["job"]["status"] for each in created} == {"queued"}
    service.start_worker()
    ended(service, created, succeeded=MANY)
    assert len(sandbox.clone_tasks()) == clones + MANY
    assert {each["server"]["vmid"] for each in created} <= sandbox.vmids()


def test_two_owners_servers_of_one_name_share_a_run(service: Service) -> None:
    owners = [
        service.create("users", {"email": f"{name}@example.com", "name": name, "role": "client"})["user"][
            "id"
        ]
        for name in ("batch-a", "batch-b")
    ]
    created = [service.create_server("batch-same", owner_id=owner, start=False) for owner in owners]
    service.start_worker()
    ended(service, created, succeeded=2)
    assert batches(service) == [2]


def test_when_ansible_dies_each_goes_on_alone(service: Service, sandbox: Sandbox) -> None:
    created = asked(service, "dies", 4)
    for each in created:
        strike(sandbox, each, "config", method="PUT", delay=4, count=1)
    clones = len(sandbox.clone_tasks())
    worker = service.start_worker()
    wait_for(lambda: len(sandbox.clone_tasks()) == clones + 4, "the clones", seconds=60)
    time.sleep(1)
    _kill_ansible(service)
    jobs = ended(service, created, succeeded=4)
    assert {job["attempt"] for job in jobs} == {1}
    assert len(sandbox.clone_tasks()) == clones + 4
    assert worker.poll() is None


def _kill_ansible(service: Service) -> None:
    """Kill the processes of the run that is under way, as the kernel does when there is no memory."""
    runs = str(service.state / "runs")
    found = []
    for entry in Path("/proc").glob("[0-9]*/environ"):
        try:
            environment = entry.read_bytes().decode(errors="replace")
        except OSError:
            continue
        if f"JOTUNHEIM_RUN_FILE={runs}" in environment:
            found.append(int(entry.parent.name))
    assert found
    for pid in found:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
