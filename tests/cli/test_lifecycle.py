"""A server from its build to its end, by the command line: every job against the real service."""

import pytest

from tests.cli.conftest import Ran, Run
from tests.cli.test_servers import KEY, fresh_name
from tests.support.sandbox import Sandbox
from tests.support.service import Service

WAIT = ("--wait", "--timeout", "60")


@pytest.fixture(scope="module")
def name(service: Service) -> str:
    """A server for the tests of this module, which keep it as it is or say so."""
    return str(service.built(fresh_name(), ssh_keys=[KEY], addresses={"ipv4": 1})["name"])


def done(ran: Ran) -> Ran:
    assert ran.status == 0, ran.out + ran.err
    return ran


def test_a_creation_can_be_previewed_and_expires(against: Run, service: Service) -> None:
    name = fresh_name()
    arguments = ["server", "create", "--name", name, "--template", "debian", "--expires-in", "2h"]
    document = done(against(*arguments, "--check", *WAIT, "--json")).document
    assert (document["job"]["status"], document["job"]["check"]) == ("succeeded", True)
    assert any(step["diff"] for step in document["job"]["steps"])
    assert document["root_password"] is None
    assert against("server", "show", name).status == 1

    created = done(against(*arguments, "--no-start", "--json")).document
    assert created["server"]["expires_at"]
    assert "expires " in against("server", "show", name).out
    service.finished(created["job"]["id"])
    done(against("server", "delete", name, "--yes", *WAIT))


def test_a_change_is_previewed_then_made_and_each_field_says_when_it_applies(
    against: Run, service: Service, sandbox: Sandbox, name: str
) -> None:
    change = ["server", "configure", name, "--memory", "2GiB", "--tag", "blue", "--label", "env=ci"]
    vmid = done(against("server", "show", name, "--json")).document["server"]["vmid"]
    before = sandbox.config(vmid)
    previewed = done(against(*change, "--check", *WAIT))
    assert "What would change:" in previewed.out
    assert "    memory_bytes: 1 GiB → 2 GiB\n" in previewed.out
    assert '    tags: [] → ["blue"]\n' in previewed.out
    assert sandbox.config(vmid) == before
    shown = done(against("server", "show", name, "--json")).document["server"]
    assert (shown["tags"], shown["labels"]) == ([], {})

    changed = done(against(*change, *WAIT))
    assert "  tags: applied\n" in changed.out
    assert "  labels: applied\n" in changed.out
    assert "  memory_bytes: pending: " in changed.out
    assert f"Restart it: jotunheim server power {name} reboot" in changed.out
    job = against("job", "list", "--server", name, "--json").document["jobs"][0]
    assert job["result"]["fields"] == {"memory_bytes": "pending", "tags": "applied"}
    shown = against("job", "show", job["id"]).out
    assert "fields.tags=applied" in shown
    assert "What changed:" in shown

    restarted = done(
        against("server", "configure", name, "--memory", "1GiB", "--restart", "if_needed", *WAIT, "--json")
    ).document
    assert restarted["job"]["result"]["fields"]["memory_bytes"] == "applied"
    assert restarted["server"]["memory_bytes"] == 2**30


def test_nothing_to_change_is_said(against: Run, name: str) -> None:
    ran = done(against("server", "configure", name, "--check", *WAIT))
    assert "Nothing would change." in ran.out


def test_bad_fields_of_a_change_are_named_by_their_options(against: Run, name: str) -> None:
    ran = against(
        *("server", "configure", name, "--vlan", "5000", "--boot-order", "scsi0,x", "--nameserver", "n"),
        *("--snapshot-limit", "-1", "--search-domain", "a b"),
    )
    assert ran.status == 1
    for option in ("--vlan", "--boot-order (number 2)", "--nameserver (number 1)", "--snapshot-limit"):
        assert f"\n  {option}: " in ran.err
    assert "\n  --search-domain" in ran.err


def test_power_goes_off_and_on(against: Run, name: str) -> None:
    for action, power in (("stop", "stopped"), ("start", "running")):
        document = done(against("server", "power", name, action, *WAIT, "--json")).document
        assert document["server"]["power"] == power


def test_a_generated_password_is_printed_once_and_says_when_it_applies(against: Run, name: str) -> None:
    ran = done(against("server", "password", name, *WAIT))
    assert ran.out.count("Password, shown only now: ") == 1
    assert ran.out.splitlines()[-1].startswith("The password of debian applies ")


def test_suspended_servers_are_shown_as_such(against: Run, name: str) -> None:
    suspended = done(against("server", "suspend", name, "--reason", "unpaid [bill]", *WAIT, "--json"))
    assert suspended.document["server"]["power"] == "stopped"
    assert ": unpaid [bill]\n" in against("server", "show", name).out
    assert "ready, suspended" in against("server", "list").out
    refused = against("server", "power", name, "start", "--json")
    assert refused.document["error"]["code"] == "conflict"
    back = done(against("server", "unsuspend", name, *WAIT, "--json")).document["server"]
    assert (back["suspended"], back["power"]) == (None, "running")


def test_snapshots_are_made_listed_rolled_back_and_deleted(against: Run, name: str) -> None:
    assert done(against("snapshot", "list", name)).out == "There are no snapshots yet.\n"
    done(against("snapshot", "create", name, "before", "--description", "all well", *WAIT))
    listed = done(against("snapshot", "list", name, "--json")).document["snapshots"]
    assert [(entry["name"], entry["description"]) for entry in listed] == [("before", "all well")]
    again = against("snapshot", "create", name, "before", "--json")
    assert again.document["error"]["code"] == "uniqueness_error"
    done(against("snapshot", "rollback", name, "before", *WAIT))
    kept = against("server", "rebuild", name, "--json")
    assert kept.status == 1
    assert "--destroy-snapshots: " in kept.err
    done(against("snapshot", "delete", name, "before", *WAIT))
    assert done(against("snapshot", "list", name, "--json")).document["snapshots"] == []
    assert against("snapshot", "delete", name, "before").status == 1


def test_a_rebuilt_server_is_the_same_with_another_disk(against: Run, name: str) -> None:
    before = against("server", "show", name, "--json").document["server"]
    rebuilt = done(against("server", "rebuild", name, "--template", "debian", *WAIT, "--json")).document
    assert rebuilt["root_password"]
    for same in ("id", "vmid", "addresses", "ssh_keys", "status"):
        assert rebuilt["server"][same] == before[same]


def test_a_protected_server_is_not_deleted_and_a_delayed_deletion_is_taken_back(
    against: Run, name: str
) -> None:
    done(against("server", "protect", name))
    refused = against("server", "delete", name, "--yes", "--json")
    assert refused.document["error"]["code"] == "protected"
    done(against("server", "unprotect", name))

    delayed = done(against("server", "delete", name, "--delay", "1h", "--yes"))
    assert "Until then: jotunheim job cancel " in delayed.out
    job_id = delayed.out.split()[-1]
    assert "begins " in against("job", "show", job_id).out
    cancelled = done(against("job", "cancel", job_id, "--json")).document["job"]
    assert cancelled["status"] == "cancelled"
    listed = against("job", "list", "--status", "cancelled", "--server", name, "--json").document["jobs"]
    assert [job["id"] for job in listed] == [job_id]
    again = against("job", "cancel", job_id, "--json")
    assert again.document["error"]["code"] == "conflict"
    watched = against("job", "watch", job_id)
    assert watched.status == 1
    assert watched.err.startswith("Error: The job was cancelled.")
    assert "skipped" in watched.out


def test_a_deleted_server_is_gone(against: Run, name: str) -> None:
    previewed = done(against("server", "delete", name, "--check", *WAIT, "--json")).document
    assert previewed["server"]["name"] == name
    deleted = done(against("server", "delete", name, "--yes", *WAIT, "--json")).document
    assert deleted["server"] is None
    assert deleted["job"]["result"]["backups_kept"] == []
    assert against("server", "show", name).status == 1
