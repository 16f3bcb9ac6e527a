"""Creating servers and following their jobs."""

import json
import signal
import subprocess
import uuid
from pathlib import Path

from tests.cli.conftest import Run, remote
from tests.support.processes import JOTUNHEIM, start
from tests.support.sandbox import Sandbox
from tests.support.service import Service

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGtQUDZWhs8k/cZcykMkoWOQHTHcGJxbTZ3x3Dx3gJ3u"


def fresh_name() -> str:
    return f"cli-{uuid.uuid4().hex[:8]}"


def test_create_and_wait_for_a_server_with_every_option(
    against: Run, sandbox: Sandbox, tmp_path: Path
) -> None:
    keys = tmp_path / "keys.pub"
    keys.write_text(f"# two\n{KEY} one\n{KEY} two\n")
    name = fresh_name()
    created = against(
        *("server", "create", "--name", name, "--template", "debian", "--node", "pve1", "--location", "test"),
        *("--hostname", f"{name}.example.com", "--cpu", "2", "--memory", "1.5GiB", "--disk", "3GiB"),
        *(
            "--ipv4",
            "1",
            "--ssh-key",
            f"@{keys}",
            "--password-stdin",
            "--label",
            "env=ci",
            "--label",
            "q=a=b",
        ),
        *("--tag", "blue", "--external-id", name, "--snapshot-limit", "0", "--no-start", "--protected"),
        *("--wait", "--timeout", "60", "--json"),
        stdin="correct horse battery\n",
    )
    assert created.status == 0, created.err
    server, job = created.document["server"], created.document["job"]
    assert (server["status"], server["power"], job["status"]) == ("ready", "stopped", "succeeded")
    assert server["labels"] == {"env": "ci", "q": "a=b"}
    assert server["protected"]
    assert server["limits"]["snapshots"] == 0
    assert (server["memory_bytes"], server["disk_bytes"]) == (3 * 2**29, 3 * 2**30)
    assert created.document["root_password"] is None
    config = sandbox.config(server["vmid"])
    assert config["sshkeys"].count("ssh-ed25519") == 2
    assert "correct horse battery" not in created.out + created.err

    assert json.loads(against("server", "show", name, "--json").out)["server"] == server
    listed = against("server", "list", "--label", "q=a=b,env=ci", "--json").document["servers"]
    assert [entry["id"] for entry in listed] == [server["id"]]
    shown = against("server", "show", server["id"])
    assert f"hostname     {name}.example.com\n" in shown.out
    assert "memory       1536 MiB\n" in shown.out


def test_waiting_without_a_terminal_prints_a_line_a_step(against: Run) -> None:
    name = fresh_name()
    created = against("server", "create", "--name", name, "--template", "debian", "--wait")
    assert created.status == 0, created.err
    lines = created.out.splitlines()
    assert "Password, shown only now: " in lines[1]
    steps = [line.split()[0] for line in lines if line.startswith("  ok")]
    assert steps == ["ok"] * 5
    assert "\x1b" not in created.out
    assert ["name", name] in [line.split() for line in lines]


def test_a_job_is_shown_listed_and_watched(against: Run, service: Service) -> None:
    name = fresh_name()
    job_id = service.create_server(name)["job"]["id"]
    watched = against("job", "watch", job_id, "--json", "--timeout", "60")
    assert watched.status == 0, watched.err
    events = [json.loads(line) for line in watched.out.splitlines()]
    assert [event["seq"] for event in events] == sorted(event["seq"] for event in events)
    assert (events[0]["type"], events[-1]["type"]) == ("job.queued", "job.finished")
    again = against("job", "watch", job_id)
    assert [line.split()[0] for line in again.out.splitlines()] == ["ok"] * 6
    shown = against("job", "show", job_id)
    assert "Clone the template" in shown.out
    listed = against("job", "list", "--server", name, "--status", "succeeded", "--json").document["jobs"]
    assert [job["id"] for job in listed] == [job_id]


def test_a_failed_job_is_status_1_with_cause_and_what_was_created(
    against: Run, service: Service, sandbox: Sandbox
) -> None:
    node = service.create(
        "nodes", service.node_spec(sandbox, name="pve7", token_secret="wrong", token_id="root@pam!nobody")
    )["node"]
    service.create("templates", {"name": "unreachable", "node_id": node["id"], "vmid": 9000})
    name = fresh_name()
    arguments = ["server", "create", "--template", "unreachable", "--wait", "--timeout", "60"]
    ran = against(*arguments, "--name", name, "--json")
    assert ran.status == 1
    assert ran.document["server"]["status"] == "build_failed"
    assert ran.document["job"]["status"] == "failed"
    assert ran.document["error"]["code"] == ran.document["job"]["error"]["code"]
    job_id = ran.document["job"]["id"]
    watched = against("job", "watch", job_id)
    assert watched.status == 1
    assert watched.err.startswith(f"Error: {ran.document['job']['error']['message']}")
    assert "failed" in watched.out
    assert "\nError: " in against("job", "show", job_id).out


def test_a_passed_timeout_is_status_124_and_keeps_the_password(
    fresh_service: Service, sandbox: Sandbox, run: Run
) -> None:
    fresh_service.add_infrastructure(sandbox)  # and no worker
    arguments = ["server", "create", "--name", "late", "--template", "debian", "--wait", "--timeout", "0.3"]
    ran = run(*arguments, "--json", **remote(fresh_service))
    assert ran.status == 124
    assert ran.document["error"]["code"] == "timeout"
    assert ran.document["root_password"]
    job_id = ran.document["job"]["id"]
    watched = run("job", "watch", job_id, "--timeout", "0.2", **remote(fresh_service))
    assert watched.status == 124
    assert watched.err == (
        f"Error: Not over after 0.2 s; the job goes on.\nTry: jotunheim job watch {job_id}\n"
    )

    interrupted = start(
        [JOTUNHEIM, *arguments[:3], "later", "--template", "debian", "--wait", "--json"],
        fresh_service.state / "cli.log",
        remote(fresh_service),
    )
    while len(fresh_service.read("servers")["servers"]) < 2:
        assert interrupted.poll() is None
    # The answer to the creation is on its way; what matters is that it is not lost.
    subprocess.run(["sleep", "0.3"], check=True)
    interrupted.send_signal(signal.SIGINT)
    printed, _ = interrupted.communicate(timeout=10)
    assert interrupted.returncode == 130
    assert json.loads(printed)["root_password"]
    assert json.loads(printed)["error"]["code"] == "interrupted"


def test_all_bad_fields_are_named_by_their_options(against: Run) -> None:
    ran = against(
        *("server", "create", "--name", "a b", "--template", "1", "--memory", "3", "--ipv4", "99"),
        *("--ssh-key", f"{KEY} fine", "--ssh-key", "nonsense", "--label", "a b=c", "--tag", "É", "--json"),
    )
    assert ran.status == 1
    assert ran.document["error"]["code"] == "invalid_input"
    fields = {detail["field"] for detail in ran.document["error"]["details"]}
    assert fields == {"name", "memory_bytes", "addresses.ipv4", "ssh_keys.1", "labels.a b", "tags.0"}
    for option in (
        "--name",
        "--memory",
        "--ipv4",
        "--ssh-key (number 2)",
        "--label (a b)",
        "--tag (number 1)",
    ):
        assert f"\n  {option}: " in ran.err


def test_hostile_labels_are_shown_as_they_are(against: Run) -> None:
    hostile = "[bold]{{ lookup('pipe', 'touch /tmp/x') }}[/bold]"
    name = fresh_name()
    created = against(
        "server",
        "create",
        "--name",
        name,
        "--template",
        "debian",
        "--label",
        f"x={hostile}",
        "--ssh-key",
        KEY,
    )
    assert created.status == 0, created.err
    assert f"x={hostile}" in against("server", "show", name).out


def test_a_name_that_exists_is_refused_with_a_document(against: Run, service: Service) -> None:
    name = fresh_name()
    service.create_server(name)
    ran = against("server", "create", "--name", name, "--template", "debian", "--json")
    assert ran.status == 1
    assert ran.document["error"]["code"] == "uniqueness_error"
    assert ran.document["error"]["request_id"]


def test_timeout_without_wait_is_bad_usage(against: Run) -> None:
    assert against("server", "create", "--name", "x", "--template", "1", "--timeout", "5").status == 2


def test_things_that_do_not_exist(against: Run) -> None:
    nobody = str(uuid.uuid4())
    assert against("server", "show", "nobody").status == 1
    assert against("server", "show", nobody).status == 1
    assert against("job", "show", nobody).status == 1
    assert against("job", "show", "../servers").status == 1
    assert against("job", "watch", nobody, "--json").document["error"]["code"] == "not_found"
