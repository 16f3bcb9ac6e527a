"""No secret is in anything that the service writes, while a run goes on and after it."""

import os
import threading
import time
from pathlib import Path

import pytest

from tests.support.sandbox import Sandbox
from tests.support.service import Service

PASSWORD = "canary-Pa55word-{{ 7*7 }}"


def _files_with(needle: bytes, root: Path) -> set[str]:
    """Files below a folder that hold a text, in any of the encodings that a careless writer would use."""
    forms = [needle, needle.decode().encode("utf-16-le")]
    found = set()
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            try:
                content = path.read_bytes()
            except OSError:
                continue  # a run's files come and go
            if any(form in content for form in forms):
                found.add(str(path))
    return found


@pytest.fixture
def slow_sandbox(sandbox: Sandbox) -> Sandbox:
    """The clone takes long enough to look around while it runs."""
    fault = {"method": "POST", "path": "/clone$", "delay": 2.0, "count": 1}
    sandbox.control.post("/faults", json=fault).raise_for_status()
    return sandbox


def test_canaries_are_found_nowhere(fresh_service: Service, slow_sandbox: Sandbox) -> None:
    fresh_service.add_infrastructure(slow_sandbox)
    fresh_service.start_worker()
    secrets = {
        "node token": slow_sandbox.token_secret.encode(),
        "password": PASSWORD.encode(),
        "api token": fresh_service.token.encode(),
    }
    found: dict[str, set[str]] = {name: set() for name in secrets}
    run_files: set[str] = set()
    over = threading.Event()

    def look_around() -> None:
        while not over.is_set():
            for name, secret in list(secrets.items()):
                found[name] |= _files_with(secret, fresh_service.state)
            run_files.update(name for _, _, names in os.walk(fresh_service.state / "runs") for name in names)
            time.sleep(0.05)

    watcher = threading.Thread(target=look_around)
    watcher.start()
    try:
        created = fresh_service.http.post(
            "/admin/servers",
            json={"name": "canary", "template_id": fresh_service.ids["template"], "password": PASSWORD},
            headers={"Idempotency-Key": "canary"},
        ).json()
        generated = fresh_service.http.post(
            "/admin/servers",
            json={"name": "canary-2", "template_id": fresh_service.ids["template"]},
            headers={"Idempotency-Key": "canary-2"},
        ).json()
        found["generated password"] = set()
        secrets["generated password"] = generated["root_password"].encode()
        jobs = [fresh_service.finished(answer["job"]["id"]) for answer in (created, generated)]
    finally:
        over.set()
        watcher.join()
    assert [job["status"] for job in jobs] == ["succeeded", "succeeded"], jobs
    for name, secret in secrets.items():
        found[name] |= _files_with(secret, fresh_service.state)
    assert found == {name: set() for name in secrets}
    assert "hosts.yml" in run_files, "the watcher saw no run at all"
    assert list((fresh_service.state / "runs").iterdir()) == []

    answers = [
        fresh_service.http.get(path).text for path in ("/admin/jobs", "/admin/servers", "/admin/nodes")
    ]
    answers += [fresh_service.http.get(f"/admin/jobs/{job['id']}/events").text for job in jobs]
    for secret in secrets.values():
        assert not any(secret.decode() in answer for answer in answers)
    vmid = fresh_service.read(f"servers/{created['server']['id']}")["server"]["vmid"]
    config = slow_sandbox.config(vmid)
    assert config["cipassword"] == "**********"


def test_a_password_is_forgotten_once_the_build_has_handed_it_over(service: Service) -> None:
    import sqlite3

    server = service.built("forgetful", password="some-Passw0rd")
    with sqlite3.connect(service.state / "jotunheim.db") as database:
        names = [row[0] for row in database.execute("SELECT name FROM secret")]
    database.close()
    assert f"node/{service.ids['node']}/token" in names
    assert [name for name in names if server["id"] in name] == []


def test_state_is_for_its_owner_only(service: Service) -> None:
    service.built("owner-only", start=False)
    assert service.state.stat().st_mode & 0o077 == 0
    for name in ("secret.key", "jotunheim.db"):
        assert (service.state / name).stat().st_mode & 0o077 == 0, name
    assert (service.state / "runs").stat().st_mode & 0o077 == 0


def test_a_key_from_the_environment_is_enough(tmp_path: Path, sandbox: Sandbox) -> None:
    key = "a2V5LWtleS1rZXkta2V5LWtleS1rZXkta2V5LWtleSE="
    with Service.start(tmp_path / "state", settings={"JOTUNHEIM_SECRET_KEY": key}) as service:
        service.add_infrastructure(sandbox)
        service.built("key-from-environment")
        assert not (service.state / "secret.key").exists()
        assert _files_with(key.encode(), service.state) == set()
