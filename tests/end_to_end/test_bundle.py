"""A job's bundle: the run as it was, done again by hand, with the service's store and without it."""

import io
import json
import os
import re
import sqlite3
import stat
import subprocess
import sys
import tarfile
from importlib import metadata
from pathlib import Path
from typing import Any

import pexpect
import pytest

from jotunheim.ansible import paths
from jotunheim.cli.demo.replay import RECAP
from tests.support.processes import wait_for
from tests.support.sandbox import Sandbox
from tests.support.service import Service

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJx0wqEEMq7wLr8XbJ3WYmHyZ8aQ9sYqv3nXhGm0Q4pB ops@example.com"
PASSWORD = "canary-Pa55word-{{ 7*7 }}"


def fetched(service: Service, job: dict[str, Any]) -> bytes:
    """The bundle of a job."""
    answer = service.http.get(f"/admin/jobs/{job['id']}/bundle")
    assert answer.status_code == 200, answer.text
    return answer.content


def unpacked(service: Service, job: dict[str, Any], folder: Path) -> Path:
    """The folder that a job's bundle unpacks to."""
    with tarfile.open(fileobj=io.BytesIO(fetched(service, job))) as archive:
        archive.extractall(folder, filter="data")
    return folder / f"jotunheim-job-{job['id']}"


def by_hand(folder: Path, **given: str) -> dict[str, str]:
    """The environment of somebody who has Ansible and Jotunheim installed, and nothing else of the service."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {"PATH": path, "HOME": str(folder), "LC_ALL": "C.UTF-8", "ANSIBLE_NOCOLOR": "1", **given}


def ran(command: list[str], folder: Path, environment: dict[str, str]) -> tuple[int, str]:
    """Exit status and output of a command in an unpacked bundle."""
    ended = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    return ended.returncode, ended.stdout + ended.stderr


def command_of(folder: Path) -> list[str]:
    """The command line of a bundle."""
    command: list[str] = json.loads((folder / "run.json").read_text())["command"]
    assert f"    {' '.join(command)}\n" in (folder / "README.md").read_text()
    return command


def assert_unchanged(output: str) -> None:
    """The playbook ended, and changed nothing."""
    assert re.findall(r"changed=(\d+) .*failed=(\d+)", output) == [("0", "0")], output
    assert len(RECAP.findall(output)) == 1


@pytest.fixture(scope="module")
def build(service: Service) -> dict[str, Any]:
    """The job of a server that was built with keys, one of which has a hostile comment."""
    keys = [f"{KEY} {{{{ lookup('jotunheim.pve.secret', 'x') }}}}"]
    created = service.create_server("bundled", ssh_keys=keys, addresses={"ipv4": 1})
    job = service.finished(created["job"]["id"])
    assert job["status"] == "succeeded", job
    return job


@pytest.fixture(scope="module")
def build_with_password(service: Service) -> dict[str, Any]:
    """The job of a server that was built with a password, which the service forgot afterwards."""
    job = service.finished(service.create_server("bundled-password", password=PASSWORD)["job"]["id"])
    assert job["status"] == "succeeded", job
    return job


def test_with_the_store_the_playbook_runs_again_and_changes_nothing(
    service: Service, build: dict[str, Any], tmp_path: Path
) -> None:
    folder = unpacked(service, build, tmp_path)
    status, output = ran(
        command_of(folder), folder, by_hand(tmp_path, JOTUNHEIM_STATE_DIR=str(service.state))
    )
    assert status == 0, output
    assert_unchanged(output)


def test_without_the_store_secrets_come_from_the_environment(
    service: Service, sandbox: Sandbox, build: dict[str, Any], tmp_path: Path
) -> None:
    folder = unpacked(service, build, tmp_path)
    variable = f"PVE_SECRET_NODE_{service.ids['node']}_TOKEN"
    assert f"`{variable}`" in (folder / "README.md").read_text()
    status, output = ran(command_of(folder), folder, by_hand(tmp_path, **{variable: sandbox.token_secret}))
    assert status == 0, output
    assert_unchanged(output)

    status, output = ran(command_of(folder), folder, by_hand(tmp_path))
    assert status != 0
    assert "secret_unavailable" in output
    assert variable in output


def test_without_the_store_secrets_are_asked_for_and_not_shown(
    service: Service, sandbox: Sandbox, build_with_password: dict[str, Any], tmp_path: Path
) -> None:
    folder = unpacked(service, build_with_password, tmp_path)
    shown = io.StringIO()
    child = pexpect.spawn(
        str(folder / "run"),
        ["--ask-secrets", "--check"],
        cwd=str(tmp_path),
        env=by_hand(tmp_path),
        timeout=60,
        encoding="utf-8",
    )
    child.logfile_read = shown
    child.expect(rf"node/{service.ids['node']}/token: ")
    child.sendline(sandbox.token_secret)
    child.expect(r"server/[0-9a-f-]{36}/password \(was erased; empty: not set again\): ")
    child.sendline("typed-Pa55word")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0, shown.getvalue()
    assert_unchanged(shown.getvalue())
    assert sandbox.token_secret not in shown.getvalue()
    assert "typed-Pa55word" not in shown.getvalue()


def test_a_password_that_the_service_forgot_is_not_needed_again(
    service: Service, build_with_password: dict[str, Any], tmp_path: Path
) -> None:
    folder = unpacked(service, build_with_password, tmp_path)
    status, output = ran(
        command_of(folder), folder, by_hand(tmp_path, JOTUNHEIM_STATE_DIR=str(service.state))
    )
    assert status == 0, output
    assert "was erased" in output
    assert_unchanged(output)


def test_a_failed_build_goes_on_by_hand_with_the_password_that_the_store_still_has(
    service: Service, sandbox: Sandbox, tmp_path: Path
) -> None:
    fault = {"method": "POST", "path": "/status/start$", "status": 500, "message": "no luck", "count": 1}
    sandbox.control.post("/faults", json=fault).raise_for_status()
    created = service.create_server("finished-by-hand", password=PASSWORD)
    job = service.finished(created["job"]["id"])
    assert job["status"] == "failed", job
    folder = unpacked(service, job, tmp_path)
    status, output = ran(
        command_of(folder), folder, by_hand(tmp_path, JOTUNHEIM_STATE_DIR=str(service.state))
    )
    assert status == 0, output
    assert "was erased" not in output
    vmid = service.server(created["server"]["id"])["vmid"]
    assert sandbox.get(f"/nodes/pve1/qemu/{vmid}/status/current")["status"] == "running"
    service.ask(f"jobs/{job['id']}/retry")
    assert service.finished(job["id"])["status"] == "succeeded"


def test_a_rebuild_runs_again_and_changes_nothing(
    service: Service, build_with_password: dict[str, Any], tmp_path: Path
) -> None:
    [server] = [entry["id"] for entry in build_with_password["resources"] if entry["type"] == "server"]
    job = service.done(f"servers/{server}/rebuild", {"template_id": service.ids["template"]})
    folder = unpacked(service, job, tmp_path)
    status, output = ran(
        command_of(folder), folder, by_hand(tmp_path, JOTUNHEIM_STATE_DIR=str(service.state))
    )
    assert status == 0, output
    assert_unchanged(output)


def test_a_password_job_by_hand_needs_the_password(
    service: Service, sandbox: Sandbox, build: dict[str, Any], tmp_path: Path
) -> None:
    [server] = [entry["id"] for entry in build["resources"] if entry["type"] == "server"]
    job = service.done(f"servers/{server}/password", {})
    folder = unpacked(service, job, tmp_path)
    store = by_hand(tmp_path, JOTUNHEIM_STATE_DIR=str(service.state))
    status, output = ran(command_of(folder), folder, store)
    assert status != 0
    assert "pve_cloudinit_password: is not set for this host" in output
    variable = f"PVE_SECRET_SERVER_{server.upper().replace('-', '_')}_PASSWORD"
    status, output = ran(command_of(folder), folder, {**store, variable: "given-Pa55word"})
    assert status == 0, output
    assert "given-Pa55word" not in output


def test_the_inventory_is_the_one_of_the_run_also_when_the_server_is_another_or_gone(
    service: Service, tmp_path: Path
) -> None:
    created = service.create_server("short-lived", ssh_keys=[KEY], cpu=1)
    job = service.finished(created["job"]["id"])
    before = fetched(service, job)
    id_ = created["server"]["id"]
    service.done(f"servers/{id_}", {"cpu": 2}, "PATCH")
    assert fetched(service, job) == before
    deleted = service.done(f"servers/{id_}", {}, "DELETE")
    assert service.http.get(f"/admin/servers/{id_}").status_code == 404
    assert fetched(service, job) == before
    assert "pve_config_cores: 1\n" in (unpacked(service, job, tmp_path) / "inventory.yml").read_text()

    folder = unpacked(service, deleted, tmp_path)
    status, output = ran(
        command_of(folder), folder, by_hand(tmp_path, JOTUNHEIM_STATE_DIR=str(service.state))
    )
    assert status == 0, output
    assert_unchanged(output)


def test_a_bundle_holds_no_secret_and_no_path_of_the_service(
    service: Service, sandbox: Sandbox, build_with_password: dict[str, Any]
) -> None:
    canaries = {
        "node token": sandbox.token_secret,
        "password": PASSWORD,
        "API token": service.token,
        "secret key": (service.state / "secret.key").read_text().strip(),
        "state directory": str(service.state),
        "checkout": str(paths.CONTENT),
        "environment": sys.prefix,
        "home": str(Path.home()) + "/",
    }
    with tarfile.open(fileobj=io.BytesIO(fetched(service, build_with_password))) as archive:
        contents = {
            member.name: extracted.read().decode()
            for member in archive
            if (extracted := archive.extractfile(member)) is not None
        }
    found = {
        (name, file) for name, text in canaries.items() for file, body in contents.items() if text in body
    }
    assert found == set()
    assert "__pycache__" not in " ".join(contents)


def test_the_same_run_gives_the_same_bytes_with_modes_and_owners_of_nobody(
    service: Service, build: dict[str, Any]
) -> None:
    content = fetched(service, build)
    assert fetched(service, build) == content
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        members = archive.getmembers()
    root = f"jotunheim-job-{build['id']}"
    assert {member.name.split("/")[0] for member in members} == {root}
    assert {(member.uid, member.gid, member.uname, member.gname) for member in members} == {(0, 0, "", "")}
    assert len({member.mtime for member in members}) == 1
    modes = {member.name: stat.S_IMODE(member.mode) for member in members}
    assert modes.pop(f"{root}/run") == 0o755
    assert all(modes[member.name] == 0o755 for member in members if member.isdir())
    assert {modes[member.name] for member in members if member.isfile() and member.name in modes} == {0o644}


def test_a_bundle_says_what_it_is_and_what_belongs_to_it(
    service: Service, build: dict[str, Any], tmp_path: Path
) -> None:
    answer = service.http.get(f"/admin/jobs/{build['id']}/bundle")
    assert answer.headers["content-type"] == "application/gzip"
    name = f"jotunheim-job-{build['id']}.tar.gz"
    assert answer.headers["content-disposition"] == f'attachment; filename="{name}"'

    folder = unpacked(service, build, tmp_path)
    described = json.loads((folder / "run.json").read_text())
    assert (described["job_id"], described["request_id"]) == (build["id"], build["request_id"])
    assert [secret["name"] for secret in described["secrets"]] == [f"node/{service.ids['node']}/token"]
    assert described["bundled"]["content_sha256"] == described["content_sha256"]
    pins = dict(line.split("==") for line in (folder / "requirements.txt").read_text().splitlines())
    assert pins == {name: metadata.version(name) for name in pins}
    assert {"jotunheim", "ansible-core", "proxmoxer"} <= pins.keys()
    assert {role.name for role in (folder / "roles").iterdir()} == {
        "pve_clone",
        "pve_config",
        "pve_firewall",
        "pve_power",
        "pve_info",
    }


def test_the_collection_s_pin_is_the_copy_in_the_bundle(
    service: Service, build: dict[str, Any], tmp_path: Path
) -> None:
    folder = unpacked(service, build, tmp_path)
    command = ["ansible-galaxy", "collection", "install", "--offline", "-r", "requirements.yml"]
    status, output = ran(command, folder, by_hand(tmp_path))
    assert (status, "already installed" in output) == (0, True), output
    status, output = ran([*command, "--force", "-p", "elsewhere"], folder, by_hand(tmp_path))
    assert status == 0, output
    assert (folder / "elsewhere/ansible_collections/jotunheim/pve/MANIFEST.json").exists()


def test_a_bundle_admits_that_its_roles_are_not_those_of_the_run(
    service: Service, build: dict[str, Any], tmp_path: Path
) -> None:
    readme = (unpacked(service, build, tmp_path / "same") / "README.md").read_text()
    assert "are those that the run used" in readme
    change = "UPDATE job_run SET content_sha256 = ? WHERE job_id = ?"
    job_id = build["id"].replace("-", "")
    with sqlite3.connect(service.state / "jotunheim.db") as database:
        query = "SELECT content_sha256 FROM job_run WHERE job_id = ?"
        [[digest]] = database.execute(query, (job_id,)).fetchall()
        database.execute(change, ("0" * 64, job_id))
    try:
        readme = (unpacked(service, build, tmp_path / "other") / "README.md").read_text()
    finally:
        with database:
            database.execute(change, (digest, job_id))
        database.close()
    assert "are those that the run used" not in readme
    assert "0" * 64 in readme


def test_the_bundle_of_a_preview_is_a_preview(service: Service, sandbox: Sandbox, tmp_path: Path) -> None:
    spec = {"name": "only-asked", "template_id": service.ids["template"], "ssh_keys": [KEY]}
    answer = service.http.post("/admin/servers?check=true", json=spec).json()
    job = service.finished(answer["job"]["id"])
    assert job["status"] == "succeeded", job
    folder = unpacked(service, job, tmp_path)
    assert command_of(folder)[-1] == "--check"
    before = sandbox.vmids()
    status, output = ran(
        command_of(folder), folder, by_hand(tmp_path, JOTUNHEIM_STATE_DIR=str(service.state))
    )
    assert status == 0, output
    assert sandbox.vmids() == before


def test_a_job_that_has_not_run_has_no_bundle(fresh_service: Service, sandbox: Sandbox) -> None:
    fresh_service.add_infrastructure(sandbox)
    job = fresh_service.create_server("waiting")["job"]
    status, error = fresh_service.refused(f"jobs/{job['id']}/bundle", method="GET")
    assert (status, error["code"]) == (409, "conflict")
    assert "has not run yet" in error["message"]
    status, error = fresh_service.refused("jobs/00000000-0000-4000-8000-000000000000/bundle", method="GET")
    assert (status, error["code"]) == (404, "not_found")
    assert fresh_service.http.get(f"/client/jobs/{job['id']}/bundle").status_code == 404


def test_the_bundle_of_a_running_job_is_there_before_it_ends(service: Service, sandbox: Sandbox) -> None:
    fault = {"method": "POST", "path": "/clone$", "delay": 2.0, "count": 1}
    sandbox.control.post("/faults", json=fault).raise_for_status()
    job = service.create_server("under-way")["job"]
    wait_for(lambda: service.read(f"jobs/{job['id']}")["job"]["steps"], "a step")
    running = fetched(service, job)
    assert service.read(f"jobs/{job['id']}")["job"]["status"] == "running"
    with tarfile.open(fileobj=io.BytesIO(running)) as archive:
        assert f"jotunheim-job-{job['id']}/inventory.yml" in archive.getnames()
    assert service.finished(job["id"])["status"] == "succeeded"
