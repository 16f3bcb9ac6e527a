"""`jotunheim job retry`."""

from tests.cli.conftest import Run
from tests.support.processes import wait_for
from tests.support.sandbox import Sandbox
from tests.support.service import Service


def test_a_failed_job_is_tried_again_and_followed(service: Service, sandbox: Sandbox, against: Run) -> None:
    # Servers that other tests left to be built would take the fault.
    wait_for(lambda: not service.read("jobs?status=queued")["jobs"], "an empty queue")
    wait_for(lambda: not service.read("jobs?status=running")["jobs"], "idle workers")
    fault = {"method": "POST", "path": "/status/start$", "status": 500, "message": "no luck", "count": 1}
    sandbox.control.post("/faults", json=fault).raise_for_status()
    created = service.create_server("retried-by-hand")
    job = service.finished(created["job"]["id"])
    assert job["status"] == "failed"

    followed = against("job", "retry", job["id"], "--wait")
    assert followed.status == 0, followed
    assert "Set the power state" in followed.out
    assert service.read(f"jobs/{job['id']}")["job"]["status"] == "succeeded"

    again = against("job", "retry", job["id"], "--json")
    assert again.status == 1
    assert again.document["error"]["code"] == "conflict"


def test_waiting_limits_need_waiting(against: Run) -> None:
    assert against("job", "retry", "x", "--timeout", "1").status == 2
