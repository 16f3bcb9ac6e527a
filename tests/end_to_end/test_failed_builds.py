"""Builds that cannot work: the job says why and what to do, and nothing is left behind."""

from typing import Any

import pytest

from tests.support.processes import free_port
from tests.support.sandbox import Sandbox
from tests.support.service import Service

WRONG_FINGERPRINT = ":".join(["AB"] * 32)
CASES = {
    "nobody answers": (lambda: {"port": free_port()}, "node_unavailable", True),
    "the token is wrong": (
        lambda: {"token_secret": "00000000-0000-4000-8000-000000000000"},
        "node_unauthorized",
        False,
    ),
    "the fingerprint is wrong": (
        lambda: {"tls": {"verify": False, "ca_pem": None, "fingerprint": WRONG_FINGERPRINT}},
        "certificate_mismatch",
        False,
    ),
    "no authority of the system signed the certificate": (
        lambda: {"tls": {"verify": True, "ca_pem": None, "fingerprint": None}},
        "certificate_mismatch",
        False,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_job_names_the_reason_and_the_node_is_untouched(
    case: str, fresh_service: Service, sandbox: Sandbox
) -> None:
    change, code, retryable = CASES[case]
    before = sandbox.vmids()
    fresh_service.add_infrastructure(sandbox, **change())
    fresh_service.start_worker()
    created = fresh_service.create_server("doomed")
    job = fresh_service.finished(created["job"]["id"])
    assert job["status"] == "failed"
    assert job["error"]["code"] == code
    assert job["error"]["retryable"] is retryable
    assert job["error"]["hint"]
    assert "Traceback" not in str(job)
    server = fresh_service.read(f"servers/{created['server']['id']}")["server"]
    assert (server["status"], server["job_id"]) == ("build_failed", None)
    assert sandbox.vmids() == before


def test_a_correct_fingerprint_is_enough(fresh_service: Service, sandbox: Sandbox) -> None:
    tls = {"verify": False, "ca_pem": None, "fingerprint": sandbox.fingerprint}
    fresh_service.add_infrastructure(sandbox, tls=tls)
    test = fresh_service.create(f"nodes/{fresh_service.ids['node']}/test", {})["test"]
    assert test["ok"], test
    said = {check["name"]: check["message"] for check in test["checks"]}
    assert said["certificate"] == f"The certificate is the pinned one, {sandbox.fingerprint}."
    assert said["version"] == f"It is Proxmox VE {test['version']}."


@pytest.mark.parametrize("case", CASES)
def test_trying_out_a_node_finds_the_same_reason(case: str, fresh_service: Service, sandbox: Sandbox) -> None:
    change, code, _ = CASES[case]
    fresh_service.add_infrastructure(sandbox, **change())
    test = fresh_service.create(f"nodes/{fresh_service.ids['node']}/test", {})["test"]
    assert (test["ok"], test["code"]) == (False, code)
    failed = [check for check in test["checks"] if not check["ok"]]
    assert [check["name"] for check in failed] == [
        {
            "node_unavailable": "connection",
            "node_unauthorized": "token",
            "certificate_mismatch": "certificate",
        }[code]
    ]
    assert all(check["hint"] for check in failed)


def test_a_node_of_another_name_is_found_out(fresh_service: Service, sandbox: Sandbox) -> None:
    fresh_service.add_infrastructure(sandbox, name="elsewhere")
    test = fresh_service.create(f"nodes/{fresh_service.ids['node']}/test", {})["test"]
    assert test["ok"] is False
    checks = {check["name"]: check["ok"] for check in test["checks"]}
    assert checks == {"connection": True, "certificate": True, "version": True, "node": False}


def test_a_failed_build_is_retried_on_demand_and_continues(fresh_service: Service, sandbox: Sandbox) -> None:
    fresh_service.add_infrastructure(sandbox)
    fresh_service.start_worker()
    fault: dict[str, Any] = {
        "method": "POST",
        "path": "/status/start$",
        "status": 500,
        "message": "no luck",
        "count": 1,
    }
    sandbox.control.post("/faults", json=fault).raise_for_status()
    created = fresh_service.create_server("second-try")
    job = fresh_service.finished(created["job"]["id"])
    assert job["status"] == "failed", job
    clones = len(sandbox.clone_tasks())
    retried = fresh_service.create(f"jobs/{job['id']}/retry", {})["job"]
    assert (retried["id"], retried["status"], retried["error"]) == (job["id"], "queued", None)
    job = fresh_service.finished(job["id"])
    assert job["status"] == "succeeded", job
    assert job["attempt"] == 2
    assert len(sandbox.clone_tasks()) == clones
    assert fresh_service.read(f"servers/{created['server']['id']}")["server"]["status"] == "ready"
    again = fresh_service.http.post(f"/admin/jobs/{job['id']}/retry", json={})
    assert (again.status_code, again.json()["error"]["code"]) == (409, "conflict")
