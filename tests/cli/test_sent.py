"""What the commands about one server send, and what they refuse before they send anything."""

import json
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from jotunheim.cli.client import Api
from tests.cli.conftest import Ran, Run, Terminal

ID = "b30f04bb-39e8-458c-aba5-11de082c4b81"
BASE = f"/api/v1/admin/servers/{ID}"
SERVER = {
    "id": ID,
    "vmid": 100,
    "name": "web-1",
    "node": {"id": 7, "name": "pve1"},
    "addresses": [{"family": "ipv4"}, {"family": "ipv6"}, {"family": "ipv6"}],
}
JOB = {"id": "1", "run_after": None}


@dataclass
class Recorder:
    """Answers every request, and remembers those that change something."""

    run: Run
    job: dict[str, Any] | None = field(default_factory=lambda: JOB)
    backups: list[dict[str, Any]] = field(default_factory=list)
    sent: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)

    def answer(self, request: httpx.Request) -> dict[str, Any]:
        """What the service says."""
        if request.method != "GET":
            self.sent.append((request.method, request.url.raw_path.decode(), json.loads(request.content)))
            self.keys.append(request.headers.get("Idempotency-Key"))
        listed = {"meta": {"pagination": {"next_page": None}}}
        template = {"id": 3, "name": "debian", "node_id": 7, "group_id": None}
        foreign = {"id": 4, "name": "debian", "node_id": 8, "group_id": None}
        return {
            "server": SERVER,
            "job": self.job,
            "backup": {"server_name": "web-1"},
            "backups": self.backups,
            "servers": [SERVER],
            "templates": [template, foreign],
            **listed,
        }

    def __call__(self, *arguments: str, **options: Any) -> Ran:
        return self.run(*arguments, JOTUNHEIM_TOKEN="jtn_x", **options)

    def one(self, *arguments: str, **options: Any) -> tuple[str, str, dict[str, Any]]:
        """The one request that a command sends."""
        ran = self(*arguments, "--json", **options)
        assert ran.status == 0, ran.err
        [sent] = self.sent
        return sent


@pytest.fixture
def api(run: Run, monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder(run)
    monkeypatch.setattr(Api, "_send", lambda _, request, *__: recorder.answer(request))
    return recorder


def test_configure_sends_every_field_and_nothing_else(api: Recorder) -> None:
    method, path, body = api.one(
        *("server", "configure", "web-1", "--name", "web-2", "--hostname", "w.example.com", "--cpu", "4"),
        *("--memory", "2GiB", "--disk", "20GiB", "--ipv4", "2", "--ipv6", "1", "--ssh-key", "k1"),
        *("--ipv6-prefixes", "1", "--address", "10.0.0.7", "--address", "fd00::/64"),
        *("--ssh-key", "k2", "--tag", "blue", "--description", "two\nlines", "--network-model", "virtio"),
        *(
            "--bridge",
            "vmbr1",
            "--vlan",
            "0",
            "--mtu",
            "1",
            "--rate",
            "10MiB",
            "--no-firewall",
            "--user",
            "ops",
        ),
        *("--nameserver", "10.0.0.1", "--search-domain", "", "--boot-order", "scsi0,net0", "--no-agent"),
        *("--label", "env=ci", "--external-id", "e", "--snapshot-limit", "3", "--backup-limit", "unlimited"),
        *("--traffic-limit", "1TiB", "--rate-limit", "1GiB", "--expires-in", "2h", "--unprotected"),
        *("--traffic-policy", "80=notify, 100=throttle:1MiB,120=suspend"),
        *("--restart", "if_needed", "--check"),
    )
    assert (method, path) == ("PATCH", f"{BASE}?check=true")
    assert body == {
        "name": "web-2",
        "hostname": "w.example.com",
        "cpu": 4,
        "memory_bytes": 2 * 2**30,
        "disk_bytes": 20 * 2**30,
        "addresses": {"ipv4": 2, "ipv6": 1, "ipv6_prefixes": 1, "explicit": ["10.0.0.7", "fd00::/64"]},
        "ssh_keys": ["k1", "k2"],
        "tags": ["blue"],
        "description": "two\nlines",
        "network": {
            "model": "virtio",
            "bridge": "vmbr1",
            "vlan": 0,
            "mtu": 1,
            "rate_bytes_per_second": 10 * 2**20,
            "firewall": False,
        },
        "cloud_init": {"user": "ops", "nameservers": ["10.0.0.1"], "search_domain": ""},
        "boot_order": ["scsi0", "net0"],
        "agent": False,
        "labels": {"env": "ci"},
        "external_id": "e",
        "limits": {
            "snapshots": 3,
            "backups": None,
            "traffic_bytes": 2**40,
            "rate_bytes_per_second": 2**30,
            "traffic_policy": [
                {"percent": 80, "action": "notify"},
                {"percent": 100, "action": "throttle", "rate_bytes_per_second": 2**20},
                {"percent": 120, "action": "suspend"},
            ],
        },
        "expires_in_seconds": 7200,
        "protected": False,
        "restart": "if_needed",
    }
    assert api.keys == [None]


def test_a_previewed_creation_says_what_would_be(api: Recorder) -> None:
    arguments = ["server", "create", "--name", "web-1", "--template", "3", "--expires-in", "90m", "--check"]
    assert api(*arguments).out == (
        "Server web-1 would be VM 100 on pve1; job 1 finds out.\nFollow it: jotunheim job watch 1\n"
        "Apply it: jotunheim server create --name web-1 --template 3 --expires-in 90m --plan 1\n"
    )
    [(method, path, body)] = api.sent
    assert (method, path) == ("POST", "/api/v1/admin/servers?check=true")
    assert body["expires_in_seconds"] == 5400


def test_configure_can_empty_what_can_be_empty(api: Recorder) -> None:
    _, _, body = api.one(
        *("server", "configure", ID, "--no-ssh-keys", "--no-tags", "--no-labels", "--no-nameservers"),
        *("--no-external-id", "--no-expiry"),
    )
    assert body == {
        "ssh_keys": [],
        "tags": [],
        "labels": {},
        "cloud_init": {"nameservers": []},
        "external_id": None,
        "expires_in_seconds": None,
    }


def test_configure_without_options_asserts_what_is_recorded(api: Recorder) -> None:
    assert api.one("server", "configure", "web-1") == ("PATCH", BASE, {})


def test_a_family_of_addresses_that_is_not_named_keeps_what_it_has(api: Recorder) -> None:
    assert api.one("server", "configure", "web-1", "--ipv4", "3")[2] == {"addresses": {"ipv4": 3}}


def test_a_change_of_records_says_that_the_vm_need_not_change(api: Recorder) -> None:
    api.job = None
    ran = api("server", "configure", "web-1", "--label", "a=b", "--wait")
    assert ran.status == 0, ran.err
    assert ran.out == "Recorded for web-1: labels. Its VM need not change.\n"
    ran = api("server", "configure", "web-1", "--label", "a=b", "--check")
    assert ran.out == "Nothing of the VM would change: only records of web-1 would.\n"
    assert api("server", "configure", "web-1", "--protected", "--json").document["job"] is None


@pytest.mark.parametrize(
    "arguments",
    [
        ["--ssh-key", "k", "--no-ssh-keys"],
        ["--tag", "t", "--no-tags"],
        ["--label", "a=b", "--no-labels"],
        ["--nameserver", "10.0.0.1", "--no-nameservers"],
        ["--external-id", "e", "--no-external-id"],
        ["--expires-in", "1h", "--no-expiry"],
        ["--expires-in", "3600"],
        ["--snapshot-limit", "many"],
        ["--restart", "always"],
        ["--timeout", "5"],
    ],
)
def test_contradictions_and_nonsense_are_bad_usage(api: Recorder, arguments: list[str]) -> None:
    assert api("server", "configure", "web-1", *arguments).status == 2
    assert api.sent == []


@pytest.mark.parametrize(
    ("arguments", "path", "body"),
    [
        (["power", "web-1", "start"], "power", {"action": "start", "force": False}),
        (
            ["power", "web-1", "shutdown", "--guest-timeout", "9", "--force"],
            "power",
            {"action": "shutdown", "timeout_seconds": 9, "force": True},
        ),
        (["password", "web-1"], "password", {}),
        (["rebuild", "web-1"], "rebuild", {"destroy_snapshots": False}),
        (
            ["rebuild", "web-1", "--template", "debian", "--ssh-key", "k", "--destroy-snapshots"],
            "rebuild",
            {"template_id": 3, "ssh_keys": ["k"], "destroy_snapshots": True},
        ),
        (["suspend", "web-1", "--reason", "unpaid"], "suspend", {"reason": "unpaid"}),
        (["unsuspend", "web-1"], "unsuspend", {}),
    ],
)
def test_requests_are_posts_with_a_key(
    api: Recorder, arguments: list[str], path: str, body: dict[str, Any]
) -> None:
    assert api.one("server", *arguments) == ("POST", f"{BASE}/{path}", body)
    assert api.keys[0] is not None


def test_check_is_said_in_the_query(api: Recorder) -> None:
    assert api.one("server", "power", ID, "stop", "--check")[1] == f"{BASE}/power?check=true"


@pytest.mark.parametrize(
    "arguments",
    [
        ["server", "create", "--name", "web-1", "--template", "3"],
        ["server", "configure", "web-1", "--cpu", "2"],
        ["server", "power", "web-1", "stop"],
        ["server", "password", "web-1"],
        ["server", "rebuild", "web-1"],
        ["server", "suspend", "web-1", "--reason", "unpaid"],
        ["server", "unsuspend", "web-1"],
        ["server", "delete", "web-1", "--yes"],
        ["backup", "create", "web-1"],
        ["backup", "restore", "web-1", ID, "--stop"],
        ["backup", "lock", "web-1", ID],
        ["backup", "unlock", "web-1", ID],
        ["backup", "delete", "web-1", ID],
        ["snapshot", "create", "web-1", "before"],
        ["snapshot", "rollback", "web-1", "before"],
        ["snapshot", "delete", "web-1", "before"],
    ],
)
def test_a_preview_names_the_line_that_applies_it(api: Recorder, arguments: list[str]) -> None:
    line = api(*arguments, "--check").out.splitlines()[-1]
    assert line == f"Apply it: jotunheim {' '.join(arguments)} --plan 1"
    api.sent.clear()
    _, previewed_path, previewed = api.one(*arguments, "--check")
    api.sent.clear()
    _, path, body = api.one(*line.removeprefix("Apply it: jotunheim ").split())
    assert (path, body) == (previewed_path.replace("?check=true", "?plan=1"), previewed)


def test_a_plan_cannot_be_previewed(api: Recorder) -> None:
    assert api("server", "power", "web-1", "stop", "--check", "--plan", "1").status == 2
    assert api.sent == []


def test_a_password_comes_from_standard_input_and_is_not_echoed(api: Recorder) -> None:
    ran = api("server", "password", "web-1", "--password-stdin", stdin="correct horse\n")
    assert api.sent[0][2] == {"password": "correct horse"}
    assert "correct horse" not in ran.out + ran.err


def test_snapshots_are_made_rolled_back_and_deleted(api: Recorder) -> None:
    for arguments in (
        ["create", "web-1", "before", "--description", "x", "--with-memory"],
        ["rollback", "web-1", "before"],
        ["delete", "web-1", "../../x"],
    ):
        assert api("snapshot", *arguments, "--check").status == 0
    assert api.sent == [
        (
            "POST",
            f"{BASE}/snapshots?check=true",
            {"name": "before", "description": "x", "with_memory": True},
        ),
        ("POST", f"{BASE}/snapshots/before/rollback?check=true", {}),
        ("DELETE", f"{BASE}/snapshots/..%2F..%2Fx?check=true", {}),
    ]


def test_backups_are_made_restored_locked_and_deleted(api: Recorder) -> None:
    made = ["--mode", "stop", "--compress", "none", "--notes", "n", "--storage", "pbs"]
    for arguments in (
        ["create", "web-1", *made],
        ["restore", "web-1", ID, "--stop", "--destroy-snapshots"],
        ["lock", "web-1", ID],
        ["unlock", "web-1", ID],
        ["delete", "web-1", ID],
        ["kept", "unlock", ID],
        ["kept", "delete", "../x"],
    ):
        ran = api("backup", *arguments, "--check")
        assert ran.status == 0, ran.err
    one = f"{BASE}/backups/{ID}"
    asked = {"mode": "stop", "compress": "none", "notes": "n", "storage": "pbs"}
    assert api.sent == [
        ("POST", f"{BASE}/backups?check=true", asked),
        ("POST", f"{one}/restore?check=true", {"stop": True, "destroy_snapshots": True}),
        ("POST", f"{one}/lock?check=true", {}),
        ("DELETE", f"{one}/lock?check=true", {}),
        ("DELETE", f"{one}?check=true", {}),
        ("DELETE", f"/api/v1/admin/backups/{ID}/lock?check=true", {}),
        ("DELETE", "/api/v1/admin/backups/..%2Fx?check=true", {}),
    ]


def test_delete_says_how(api: Recorder) -> None:
    arguments = ["--delay", "1h", "--delete-backups", "--no-purge", "--yes"]
    assert api.one("server", "delete", "web-1", *arguments) == (
        "DELETE",
        BASE,
        {"delay_seconds": 3600, "backups": "delete", "purge": False},
    )


def test_delete_asks_on_a_terminal_and_names_the_server(api: Recorder) -> None:
    refused = api("server", "delete", "web-1", stdin=Terminal("n\n"))
    assert refused.status == 1
    assert f"Delete web-1 ({ID}, VM 100 on pve1)? [y/N]" in refused.err
    assert api.sent == []
    assert api("server", "delete", "web-1", stdin=Terminal("y\n")).status == 0
    assert len(api.sent) == 1


def test_delete_asks_what_becomes_of_backups(api: Recorder) -> None:
    api.backups = [{"id": ID}]
    kept = api("server", "delete", "web-1", stdin=Terminal("n\n"))
    assert "and keep its backup? (--delete-backups deletes them.) [y/N]" in kept.err
    api.backups *= 3
    deleted = api("server", "delete", "web-1", "--delete-backups", stdin=Terminal("n\n"))
    assert "on pve1) and its 3 backups? [y/N]" in deleted.err
    assert api.sent == []


def test_delete_without_a_terminal_needs_a_yes(api: Recorder) -> None:
    ran = api("server", "delete", "web-1", "--json", stdin="y\n")
    assert ran.status == 2
    assert ran.document["error"]["code"] == "usage"
    assert api.sent == []
    assert api("server", "delete", "web-1", "--check").status == 0


def test_protection_is_set_and_removed(api: Recorder) -> None:
    for verb in ("protect", "unprotect"):
        assert api("server", verb, "web-1", "--json").status == 0
    assert api.sent == [
        ("POST", f"{BASE}/protection", {"protected": True}),
        ("POST", f"{BASE}/protection", {"protected": False}),
    ]
