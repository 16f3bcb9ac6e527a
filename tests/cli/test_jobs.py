"""`jotunheim job retry`, `bundle` and `list --request`."""

import tarfile
from pathlib import Path

import pytest

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


def test_a_bundle_is_saved_and_nothing_overwritten(
    service: Service, against: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    job = service.finished(service.create_server("bundled-by-hand", start=False)["job"]["id"])
    saved = against("job", "bundle", job["id"])
    assert saved.status == 0, saved
    file = tmp_path / f"jotunheim-job-{job['id']}.tar.gz"
    assert str(file) in saved.out
    with tarfile.open(file) as archive:
        assert f"jotunheim-job-{job['id']}/inventory.yml" in archive.getnames()

    elsewhere = tmp_path / "other.tar.gz"
    said = against("job", "bundle", job["id"], "--output", str(elsewhere), "--json").document
    assert said == {"file": str(elsewhere), "size_bytes": elsewhere.stat().st_size}
    assert elsewhere.read_bytes() == file.read_bytes()

    file.write_text("mine")
    assert against("job", "bundle", job["id"]).status == 2
    assert file.read_text() == "mine"
    nowhere = against("job", "bundle", job["id"], "--output", str(tmp_path / "no" / "such.tar.gz"))
    assert nowhere.status == 2
    assert "No such file" in nowhere.err

    missing = against("job", "bundle", "00000000-0000-4000-8000-000000000000", "--json")
    assert (missing.status, missing.document["error"]["code"]) == (1, "not_found")


def test_jobs_are_found_by_the_request_that_asked_for_them(service: Service, against: Run) -> None:
    job = service.create_server("asked-for", start=False)["job"]
    listed = against("job", "list", "--request", job["request_id"], "--json").document["jobs"]
    assert [entry["id"] for entry in listed] == [job["id"]]
    assert against("job", "list", "--request", "nobody", "--json").document["jobs"] == []
    service.finished(job["id"])
