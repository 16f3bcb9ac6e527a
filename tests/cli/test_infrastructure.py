"""Locations, nodes, templates and address pools."""

from pathlib import Path

import pytest

from tests.cli.conftest import Ran, Run, remote
from tests.support.sandbox import Sandbox
from tests.support.service import Service

HOSTILE = "[red]{{ lookup('pipe', 'touch /tmp/x') }}[/red]"


@pytest.fixture
def empty(fresh_service: Service, run: Run) -> Run:
    """Runs a remote command against a service with nothing added."""
    return lambda *arguments, **options: run(*arguments, **{**remote(fresh_service), **options})


def add_node(empty: Run, sandbox: Sandbox, *trust: str, **options: str) -> None:
    assert empty("location", "add", "lab").status == 0
    arguments = ["--host", "127.0.0.1", "--port", str(sandbox.port), "--token-id", sandbox.token_id]
    added = empty(
        "node", "add", "pve1", "--location", "lab", "--vm-storage", "vmstore", *arguments, *trust, **options
    )
    assert added.status == 0, added.err


def test_from_nothing_to_a_usable_node(empty: Run, sandbox: Sandbox, tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.pem"
    ca_file.write_text(sandbox.ca_pem)
    add_node(
        empty, sandbox, "--ca-file", str(ca_file), "--token-secret-stdin", stdin=sandbox.token_secret + "\n"
    )
    tested = empty("node", "test", "pve1", "--json")
    assert tested.status == 0, tested.err
    assert tested.document["test"]["ok"]
    template = empty("template", "add", "debian-12", "--node", "pve1", "--vmid", "9000", "--json")
    assert template.document["template"]["minimum_disk_bytes"] == 2 * 2**30
    pool = empty(
        "pool", "add", "lan", "--prefix", "10.9.0.0/29", "--gateway", "10.9.0.1", "--node", "pve1", "--json"
    )
    assert pool.document["address_pool"]["free"] == 5
    for noun, key in (
        ("location", "locations"),
        ("node", "nodes"),
        ("template", "templates"),
        ("pool", "address_pools"),
    ):
        assert len(empty(noun, "list", "--json").document[key]) == 1
    assert sandbox.token_secret not in empty("node", "list", "--json").out


def test_a_pinned_fingerprint_and_a_secret_from_the_environment(empty: Run, sandbox: Sandbox) -> None:
    add_node(
        empty, sandbox, "--fingerprint", sandbox.fingerprint, JOTUNHEIM_NODE_TOKEN_SECRET=sandbox.token_secret
    )
    assert "fingerprint" in empty("node", "list").out
    assert empty("node", "test", "1").status == 0


def test_a_wrong_fingerprint_is_a_failed_check_with_its_code(empty: Run, sandbox: Sandbox) -> None:
    add_node(empty, sandbox, "--fingerprint", "00" * 32, "--token-secret-stdin", stdin=sandbox.token_secret)
    tested = empty("node", "test", "pve1", "--json")
    assert tested.status == 1
    assert tested.document["error"]["code"] == "certificate_mismatch"
    assert not tested.document["test"]["ok"]


def test_a_node_that_does_not_answer_is_status_3(empty: Run) -> None:
    assert empty("location", "add", "lab").status == 0
    arguments = ["--host", "127.0.0.1", "--port", "1", "--token-id", "root@pam!xy", "--token-secret-stdin"]
    assert empty("node", "add", "pve9", "--location", "lab", *arguments, stdin="s").status == 0
    tested = empty("node", "test", "pve9")
    assert tested.status == 3
    assert tested.err.startswith("Error: ")


def test_a_node_needs_its_secret(empty: Run) -> None:
    added = empty("node", "add", "n", "--location", "1", "--host", "h", "--token-id", "root@pam!x")
    assert added.status == 2
    assert "JOTUNHEIM_NODE_TOKEN_SECRET" in added.err


def test_bad_fields_of_a_node_are_named_by_their_options(empty: Run) -> None:
    assert empty("location", "add", "lab").status == 0
    added = empty(
        *("node", "add", "a_b", "--location", "lab", "--host", "-", "--token-id", "x", "--port", "0"),
        *("--fingerprint", "12", "--bridge", "?", "--token-secret-stdin"),
        stdin="s",
    )
    assert added.status == 1
    for option in ("NAME", "--host", "--token-id", "--port", "--fingerprint", "--bridge"):
        assert f"\n  {option}: " in added.err


def test_hostile_names_are_shown_as_they_are(empty: Run) -> None:
    assert empty("location", "add", "lab", "--name", HOSTILE).status == 0
    assert HOSTILE in empty("location", "list").out
    assert empty("location", "list", "--json").document["locations"][0]["name"] == HOSTILE


def test_a_reference_to_nothing_says_where_to_look(empty: Run) -> None:
    ran = empty("template", "add", "x", "--node", "pve\x1b[31m", "--vmid", "9000")
    assert ran.status == 1
    assert ran.err == "Error: There is no node pve\\x1b[31m.\nTry: jotunheim node list shows all.\n"


def test_a_token_without_rights_is_told_what_to_do(empty: Run) -> None:
    ran = empty("node", "list", JOTUNHEIM_TOKEN="jtn_wrong")
    assert ran.status == 1
    assert ran.err.splitlines()[1] == "Try: Set JOTUNHEIM_TOKEN to a valid token."


def test_everything_can_be_changed_and_deleted_again(empty: Run, sandbox: Sandbox) -> None:
    add_node(
        empty, sandbox, "--fingerprint", sandbox.fingerprint, JOTUNHEIM_NODE_TOKEN_SECRET=sandbox.token_secret
    )
    assert empty("template", "add", "debian", "--node", "pve1", "--vmid", "9000").status == 0
    assert empty("pool", "add", "lan", "--prefix", "10.9.0.0/29", "--gateway", "10.9.0.1").status == 0
    for noun, key, what, options, expected in (
        ("location", "location", "lab", ("--name", "Laboratory"), {"name": "Laboratory"}),
        ("node", "node", "pve1", ("--max-concurrent-clones", "7"), {"max_concurrent_clones": 7}),
        ("template", "template", "debian", ("--minimum-disk", "4GiB"), {"minimum_disk_bytes": 4 * 2**30}),
        ("pool", "address_pool", "lan", ("--no-gateway", "--vlan", "9"), {"gateway": None, "vlan": 9}),
    ):
        changed = empty(noun, "change", what, *options, "--json")
        assert changed.status == 0, changed.err
        assert changed.document[key].items() >= expected.items()
    used = empty("location", "delete", "lab")
    assert used.status == 1
    assert "nodes: pve1" in used.err
    for noun, what in (("pool", "lan"), ("template", "debian"), ("node", "pve1"), ("location", "lab")):
        assert empty(noun, "delete", what).status == 0
        assert f"There is no {noun} {what}." in empty(noun, "change", what, "--name", "x").err


def test_a_new_token_comes_from_standard_input(empty: Run, sandbox: Sandbox) -> None:
    add_node(empty, sandbox, "--fingerprint", sandbox.fingerprint, "--token-secret-stdin", stdin="wrong")
    assert empty("node", "test", "pve1", "--json").document["error"]["code"] == "node_unauthorized"
    changed = empty("node", "change", "pve1", "--token-secret-stdin", stdin=sandbox.token_secret + "\n")
    assert changed.status == 0, changed.err
    assert sandbox.token_secret not in changed.out
    assert empty("node", "test", "pve1").status == 0
    bad = empty("node", "change", "pve1", "--system-cas", "--fingerprint", sandbox.fingerprint)
    assert (bad.status, "--system-cas" in bad.err) == (2, True)


def test_a_node_is_drained_and_filled_again(empty: Run, sandbox: Sandbox) -> None:
    add_node(
        empty, sandbox, "--fingerprint", sandbox.fingerprint, JOTUNHEIM_NODE_TOKEN_SECRET=sandbox.token_secret
    )
    assert empty("node", "drain", "pve1", "--json").document["node"]["drained"]
    assert "no: drained" in empty("node", "list").out
    assert not empty("node", "drain", "pve1", "--undo", "--json").document["node"]["drained"]


def test_addresses_are_listed_and_reserved(empty: Run) -> None:
    assert empty("pool", "add", "lan", "--prefix", "10.9.0.0/30").status == 0
    kept = empty("pool", "reserve", "lan", "10.9.0.1", "--for", HOSTILE, "--json")
    assert kept.document["address"]["reserved_for"] == HOSTILE
    listed = empty("pool", "addresses", "lan")
    assert HOSTILE in listed.out
    assert "10.9.0.2" in listed.out
    assert "1 of 2" in empty("pool", "list").out
    assert empty("pool", "reserve", "lan", "10.9.0.1", "--undo").status == 0
    assert "2 of 2" in empty("pool", "list").out
    assert empty("pool", "remove", "lan", "10.9.0.2").status == 0
    assert "1 of 1" in empty("pool", "list").out
    unknown = empty("pool", "reserve", "lan", "10.9.0.9", "--for", "x")
    assert "There is no address 10.9.0.9 in pool lan" in unknown.err
    assert empty("pool", "reserve", "lan", "10.9.0.1").status == 2
    bad = empty("pool", "reserve", "lan", "../..", "--for", "x")
    assert bad.status == 1


def test_what_a_node_tells(service: Service, run: Run) -> None:
    def command(*arguments: str) -> Ran:
        done = run(*arguments, **remote(service))
        assert done.status == 0, done.err
        return done

    synced = command("node", "sync", "pve1", "--wait", "--json").document["job"]
    assert (synced["type"], synced["status"], synced["result"]["missing"]) == ("node.sync", "succeeded", [])
    assert "ok" in command("node", "sync", "pve1", "--wait").out
    shown = command("node", "show", "pve1").out
    assert "online" in shown
    assert "1 TiB" in shown
    assert "vmstore" in command("node", "storages", "pve1").out
    assert command("node", "usage", "pve1", "--json").document["usage"]
    assert "%" in command("node", "usage", "pve1", "--by-half-hours").out


def test_template_groups_from_the_command_line(empty: Run, sandbox: Sandbox) -> None:
    add_node(
        empty, sandbox, "--fingerprint", sandbox.fingerprint, JOTUNHEIM_NODE_TOKEN_SECRET=sandbox.token_secret
    )
    assert empty("template-group", "add", "debian", "--minimum-memory", "512MiB").status == 0
    synced = empty("template", "sync", "pve1", "--json").document
    (template,) = (found for found in synced["templates"] if found["vmid"] == 9000)
    assert (template["hidden"], synced["missing"]) == (True, [])
    assert empty("template", "sync", "pve1", "--json").document["added"] == []
    changed = empty("template", "change", template["name"], "--group", "debian", "--shown", "--json")
    assert (changed.document["template"]["group_id"], changed.document["template"]["hidden"]) == (1, False)
    refused = empty("template-group", "delete", "debian")
    assert (refused.status, template["name"] in refused.err) == (1, True)
    small = ["--name", "small", "--template-group", "debian", "--memory", "256MiB"]
    refused = empty("server", "create", *small)
    assert (refused.status, "--memory" in refused.err) == (1, True)
    assert (
        empty("server", "create", "--name", "x", "--template-group", "debian", "--template", "1").status == 2
    )
    assert empty("server", "create", "--name", "x").status == 2
    unlabelled = ["--name", "fast", "--template", template["name"], "--node-label", "disk=nvme"]
    refused = empty("server", "create", *unlabelled, "--json")
    assert (refused.status, refused.document["error"]["code"]) == (1, "placement_error")
    labelled = empty("node", "change", "pve1", "--label", "disk=nvme", "--json")
    assert labelled.document["node"]["labels"] == {"disk": "nvme"}
    assert empty("server", "create", *unlabelled).status == 0
    assert empty("node", "change", "pve1", "--no-labels", "--json").document["node"]["labels"] == {}
    emptied = empty("template-group", "change", "debian", "--no-minimum-memory", "--name", "d12", "--json")
    assert emptied.document["template_group"]["minimum_memory_bytes"] is None
    assert empty("template", "change", "1", "--no-group").status == 0
    assert empty("template-group", "delete", "d12").status == 0


def test_how_a_location_places(empty: Run) -> None:
    added = empty("location", "add", "lab", "--placement", "pack", "--json")
    assert added.document["location"]["placement_policy"] == "pack"
    changed = empty("location", "change", "lab", "--no-placement", "--json")
    assert changed.document["location"]["placement_policy"] is None


def test_the_commands_that_make_a_token_need_no_service(run: Run) -> None:
    printed = run("node", "privileges", "pve7", "--vm-storage", "fast")
    assert printed.status == 0
    lines = printed.out.splitlines()
    assert lines[0] == "pveum user add jotunheim@pve"
    assert "pveum acl modify /storage/fast --tokens 'jotunheim@pve!service' --roles JotunheimStorage" in lines
    grants = run("node", "privileges", "pve7", "--json").document["grants"]
    assert {"path": "/nodes/pve7", "privileges": ["Sys.Audit"]} in grants


def test_a_pool_of_prefixes_is_added_extended_and_listed(empty: Run) -> None:
    arguments = ["--family", "ipv6", "--first", "fd00::", "--last", "fd00:0:0:3::", "--prefix-length", "48"]
    added = empty(
        "pool",
        "add",
        "sites",
        *arguments,
        "--delegate",
        "64",
        "--quarantine",
        "2h",
        "--json",
        "--reserve",
        "fd00::/64",
    )
    assert added.status == 0, added.err
    pool = added.document["address_pool"]
    assert (pool["delegated_prefix_length"], pool["quarantine_seconds"], pool["total"]) == (64, 7200, 4)
    assert empty("pool", "add", "lan", "--prefix", "10.9.0.0/30", "--mac-prefix", "02:00:5e").status == 0
    assert "3 of 4" in empty("pool", "list", "--family", "ipv6").out
    assert empty("pool", "reserve", "sites", "fd00::/64", "--undo").status == 0
    assert empty("pool", "release", "sites", "fd00::/64", "--json").document["address"]["state"] == "free"
    assert "02:00:5E" not in empty("pool", "list", "--family", "ipv6").out
    assert empty("pool", "extend", "sites", "fd00:0:0:4::", "fd00:0:0:7::").status == 0
    assert empty("pool", "extend", "sites", "fd00:0:0:9::", "--json").document["address_pool"]["total"] == 9
    assert empty("pool", "reserve", "sites", "fd00:0:0:9::/64", "--for", "x").status == 0
    kept = empty("pool", "addresses", "sites", "--state", "reserved", "--json").document["addresses"]
    assert [row["address"] for row in kept] == ["fd00:0:0:9::/64"]
    names = [
        row["name"] for row in empty("pool", "list", "--sort", "-name", "--json").document["address_pools"]
    ]
    assert names == ["sites", "lan"]
    wrong = empty("pool", "list", "--sort", "vlan")
    assert (wrong.status, "must be one of id, name" in wrong.err) == (1, True)
    bad = empty(
        "pool", "add", "bad", "--prefix", "10.8.0.0/24", "--mac-prefix", "01:00:00", "--delegate", "64"
    )
    assert bad.status == 1
    assert "--mac-prefix: is of multicast" in bad.err
    changed = empty("pool", "change", "lan", "--no-mac-prefix", "--quarantine", "90s", "--json")
    assert changed.document["address_pool"].items() >= {"mac_prefix": None, "quarantine_seconds": 90}.items()
