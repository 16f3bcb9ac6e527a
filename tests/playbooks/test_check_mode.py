"""Every playbook in check mode: nothing changes, and what is predicted is what the real run then does.

To add a playbook, add its cases. Each is one host, and all hosts of a playbook are run together.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest

from tests.playbooks.pve_playbooks import KEY, ROOT, Playbooks, Run, Sandbox, Unsafe
from tests.playbooks.pve_plugins import COLLECTIONS

from ansible_collections.jotunheim.pve.plugins.plugin_utils.ownership import scratch_uuid  # isort: skip

assert COLLECTIONS.is_dir()  # importing it made the collection importable

GIB = 1024**3
SNAPSHOT = {"pve_snapshot_name": "clean"}
BACKUP = {"pve_backup_id": "monday", "pve_backup_storage": "local"}


@dataclass(frozen=True)
class Case:
    """One host of a playbook: what is found there, and what is to be done.

    Attributes:
        prepare: makes the server of this number; may return more variables.
        command: the playbook does something here every time.
    """

    prepare: Callable[[Sandbox, int], object]
    variables: dict[str, Any] = field(default_factory=dict)
    command: bool = False


def nothing(_sandbox: Sandbox, _number: int) -> None:
    """No server at all."""


def stopped(sandbox: Sandbox, number: int) -> None:
    """A stopped server."""
    sandbox.own_server(number)


def running(sandbox: Sandbox, number: int) -> None:
    """A running one, with changes that wait already."""
    vmid = sandbox.own_server(number, cores=1, memory="1024", nameserver="9.9.9.9")
    sandbox.start(vmid)
    with sandbox.client() as pve:
        pve.put(f"nodes/pve1/qemu/{vmid}/config", cores=2, nameserver="1.1.1.1")


def with_backup(sandbox: Sandbox, number: int) -> dict[str, Any]:
    """A running one with a backup, and settings that are others since."""
    vmid = sandbox.own_server(number)
    mark = f"jotunheim:backup={BACKUP['pve_backup_id']}"
    with sandbox.client() as pve:
        told = {"vmid": vmid, "storage": "local", "notes-template": mark}
        pve.run("backup", "POST", "nodes/pve1/vzdump", timeout_seconds=10, **told)
        [made] = pve.get("nodes/pve1/storage/local/content", content="backup", vmid=vmid)
        pve.put(f"nodes/pve1/qemu/{vmid}/config", cores=2, nameserver="1.1.1.1")
    sandbox.start(vmid)
    return {"pve_restore_volume": made["volid"]}


def others_backup(sandbox: Sandbox, number: int) -> dict[str, Any]:
    """No server, and the backup of another one, which has more network devices."""
    vmid = sandbox.own_server(50 + number, ipconfig1="ip=192.0.2.7/24", onboot="1")
    with sandbox.client() as pve:
        told = {"vmid": vmid, "storage": "local"}
        pve.run("backup", "POST", "nodes/pve1/vzdump", timeout_seconds=10, **told)
        [made] = pve.get("nodes/pve1/storage/local/content", content="backup", vmid=vmid)
    return {
        "pve_restore_new_volume": made["volid"],
        "pve_restore_new_original_uuid": str(UUID(int=50 + number)),
        "pve_restore_new_name": f"web-{number}",
    }


def with_locked_backup(sandbox: Sandbox, number: int) -> None:
    """One with a backup that is locked."""
    volume = with_backup(sandbox, number)["pve_restore_volume"]
    with sandbox.client() as pve:
        pve.put(f"nodes/pve1/storage/local/content/{volume}", protected=1)


def with_disk_alone(sandbox: Sandbox, number: int) -> dict[str, Any]:
    """A disk without a VM."""
    vmid = 1100 + number
    with sandbox.client() as pve:
        made = {"vmid": vmid, "filename": f"vm-{vmid}-disk-0.raw", "size": "1G"}
        volume = pve.post("nodes/pve1/storage/vmstore/content", **made)
    return {"pve_orphan_volume": volume}


def with_marked_backup(sandbox: Sandbox, number: int) -> dict[str, Any]:
    """A backup that carries the server's UUID for its own."""
    vmid = sandbox.own_server(number)
    with sandbox.client() as pve:
        told = {"vmid": vmid, "storage": "local", "notes-template": f"jotunheim:backup={UUID(int=number)}"}
        pve.run("backup", "POST", "nodes/pve1/vzdump", timeout_seconds=10, **told)
        [made] = pve.get("nodes/pve1/storage/local/content", content="backup", vmid=vmid)
    return {"pve_orphan_volume": made["volid"]}


def with_snapshot(sandbox: Sandbox, number: int) -> None:
    """A running one with a snapshot without memory."""
    vmid = sandbox.own_server(number)
    sandbox.start(vmid)
    with sandbox.client() as pve:
        path = f"nodes/pve1/qemu/{vmid}/snapshot"
        pve.run("snapshot", "POST", path, timeout_seconds=10, snapname="clean")


def rebuilt_before(sandbox: Sandbox, number: int) -> None:
    """A stopped one with the old disk of a rebuild that never cleaned up, and its scratch VM."""
    vmid, uuid = sandbox.own_server(number), str(UUID(int=number))
    path = f"nodes/pve1/qemu/{vmid}/config"
    with sandbox.client() as pve:
        pve.put(path, scsi1="vmstore:1")
        old = pve.get(path)["scsi1"]
        notes = f"jotunheim:server={uuid}\njotunheim:replaced=scsi1={old}\njotunheim:rebuild=old"
        pve.put(path, description=notes, delete="scsi1")
        clone = {"newid": 1900 + number, "description": f"jotunheim:server={scratch_uuid(uuid)}"}
        pve.run("clone", "POST", "nodes/pve1/qemu/9000/clone", timeout_seconds=10, **clone)


def with_image(sandbox: Sandbox, number: int) -> None:
    """A stopped one with an image in its drive."""
    sandbox.own_server(number, ide0="local:iso/rescue.iso,media=cdrom,size=2K")


def strangers(sandbox: Sandbox, number: int) -> None:
    """Somebody else's running VM, with notes and an SMBIOS UUID."""
    uuid = "9e60e40f-a6f6-4eca-b680-8f3b1f089265"
    vmid = sandbox.own_server(number, description="By hand", smbios1=f"uuid={uuid},serial=U04=,base64=1")
    sandbox.start(vmid)


def rebuild(number: int, **changes: Any) -> dict[str, Any]:
    """The variables of a rebuild."""
    asked = {"pve_rebuild_template_vmid": 9000, "pve_rebuild_scratch_vmid": 1900 + number}
    return {**asked, "pve_rebuild_id": f"job-{number}", "pve_power_state": "started", **changes}


CHANGE = {
    "pve_config_name": Unsafe("web-renamed"),
    "pve_config_cores": 4,
    "pve_config_memory_bytes": 3 * GIB,
    "pve_config_cpu_type": "host",
    "pve_config_tags": ["db"],
    "pve_config_description": Unsafe("Another"),
    "pve_config_onboot": True,
    "pve_config_agent": False,
    "pve_config_networks": [
        {
            "bridge": "vmbr0",
            "model": "e1000",
            "vlan": 7,
            "rate_bytes_per_second": 1_000_000,
            "firewall": True,
        },
        {"index": 1, "bridge": "vmbr0", "mtu": 1400},
    ],
    "pve_config_cloudinit": {
        "user": "admin",
        "ssh_keys": [Unsafe(f"{KEY} new@example.com")],
        "ip_configs": [{"ipv4_address": "10.99.0.77/24", "ipv4_gateway": "10.99.0.1"}],
        "nameservers": ["10.99.0.1"],
        "search_domain": "example.org",
    },
    "pve_config_disk": {"size_bytes": 4 * GIB},
    "pve_config_boot_order": ["scsi0", "net1"],
}

NOTHING = dict.fromkeys([*CHANGE, "pve_config_onboot"], None)
RESTART = {"pve_restart_restart": "if_needed"}

WALL = {
    "pve_config_networks": [{"index": 0, "firewall": True}],
    "pve_firewall_enabled": True,
    "pve_firewall_mac_filter": True,
    "pve_firewall_ip_filter": True,
    "pve_firewall_addresses": ["10.99.1.5", "fd00::5"],
    "pve_firewall_policy_in": "DROP",
    "pve_firewall_rules": [
        {"direction": "in", "action": "ACCEPT", "protocol": "tcp", "destination_port": "22"}
    ],
}

CASES = {
    "server_rebuild.yml": [
        Case(running, rebuild(1)),
        Case(stopped, NOTHING | rebuild(2, pve_rebuild_disk_bytes=3 * GIB, pve_rebuild_full=True)),
        Case(with_snapshot, NOTHING | rebuild(3, pve_rebuild_destroy_snapshots=True)),
        Case(rebuilt_before, NOTHING | rebuild(4)),
    ],
    "server_delete.yml": [
        Case(running),
        Case(stopped, {"pve_delete_backups": True, "pve_delete_purge": False}),
        Case(with_snapshot),
        Case(rebuilt_before, {"pve_delete_scratch_vmid": 1904}),
    ],
    "server_build.yml": [Case(nothing)],
    "server_build_cancel.yml": [Case(running), Case(stopped)],
    "server_rebuild_cancel.yml": [Case(rebuilt_before, rebuild(1))],
    "server_configure.yml": [
        Case(stopped, CHANGE | RESTART),
        Case(running, CHANGE),
        Case(running, CHANGE | RESTART),
        Case(running, NOTHING | RESTART),
        Case(with_image, NOTHING | {"pve_config_iso": ""}),
    ],
    "server_import.yml": [
        Case(strangers, {"pve_adopt_smbios_uuid": "9E60E40F-A6F6-4ECA-B680-8F3B1F089265"}),
    ],
    "server_import_cancel.yml": [
        Case(running, {"pve_adopt_replaces": "9e60e40f-a6f6-4eca-b680-8f3b1f089265"}),
    ],
    "server_drift.yml": [
        Case(running, CHANGE | WALL, command=True),
        Case(stopped, NOTHING | {"pve_drift_power": "running"}, command=True),
        Case(strangers, command=True),
        Case(nothing, command=True),
    ],
    "server_firewall.yml": [
        Case(stopped, NOTHING | WALL),
        Case(running, NOTHING | WALL | {"pve_firewall_ip_filter": False, "pve_firewall_addresses": None}),
    ],
    "server_power.yml": [
        Case(stopped, {"pve_power_state": "started"}),
        Case(running, {"pve_power_state": "shutdown"}),
        Case(running, {"pve_power_state": "rebooted"}, command=True),
        Case(running, {"pve_power_state": "reset"}, command=True),
    ],
    "server_suspend.yml": [
        Case(running, NOTHING | {"pve_config_onboot": False, "pve_power_state": "shutdown"}),
    ],
    "server_unsuspend.yml": [Case(stopped, NOTHING | {"pve_config_onboot": True})],
    "server_password.yml": [Case(stopped, {"pve_password_user": "debian"})],
    "snapshot_create.yml": [
        Case(running, SNAPSHOT | {"pve_snapshot_with_memory": True, "pve_snapshot_limit": 1}),
        Case(stopped, SNAPSHOT | {"pve_snapshot_with_memory": True}),
    ],
    "backup_create.yml": [
        Case(
            running,
            BACKUP | {"pve_backup_mode": "suspend", "pve_backup_notes": Unsafe("{{ not a template }}")},
        ),
        Case(stopped, BACKUP | {"pve_backup_compress": "0"}),
    ],
    "backup_lock.yml": [Case(with_backup, BACKUP)],
    "backup_unlock.yml": [Case(with_locked_backup, BACKUP)],
    "backup_delete.yml": [Case(with_backup, BACKUP)],
    "server_build_from_backup.yml": [
        Case(others_backup),
        Case(others_backup, CHANGE | {"pve_restore_new_storage": "vmstore", "pve_power_state": "stopped"}),
    ],
    "backup_restore.yml": [
        Case(with_backup, NOTHING | {"pve_restore_id": "1", "pve_restore_stop": True}),
        Case(
            with_backup,
            CHANGE | {"pve_restore_id": "2", "pve_restore_stop": True, "pve_power_state": "stopped"},
        ),
    ],
    "orphan_prune.yml": [
        Case(running, {"pve_orphan_kind": "vm", "pve_orphan_despite": ["running"]}),
        Case(with_disk_alone, {"pve_orphan_kind": "disk", "pve_orphan_storage": "vmstore"}),
        Case(with_marked_backup, {"pve_orphan_kind": "backup", "pve_orphan_storage": "local"}),
    ],
    "snapshot_delete.yml": [Case(with_snapshot, SNAPSHOT)],
    "snapshot_rollback.yml": [
        Case(with_snapshot, SNAPSHOT, command=True),
        Case(with_snapshot, SNAPSHOT | {"pve_power_state": "stopped"}, command=True),
        Case(with_snapshot, SNAPSHOT | {"pve_snapshot_start": True}, command=True),
    ],
}


def test_every_playbook_that_changes_something_by_itself_has_cases() -> None:
    # What `server_settle.yml` stops is named to it: tests/end_to_end/test_cancel.py has tasks to name.
    # `template_build.yml` has no servers: tests/playbooks/test_template_build.py.
    others = {"server_settle.yml", "template_build.yml"}
    assert CASES.keys() | others == {file.name for file in (ROOT / "playbooks").glob("*.yml")}


def diffs(run: Run) -> dict[tuple[str, str], Any]:
    return {(r.host, r.task): r.result["diff"] for r in run.results if "diff" in r.result}


def changed(run: Run) -> set[str]:
    return {r.host for r in run.results if r.result.get("changed")}


@pytest.mark.parametrize(("playbook", "cases"), CASES.items(), ids=CASES.keys())
def test_check_mode_changes_nothing_and_predicts_the_run(
    playbook: str, cases: list[Case], playbooks: Playbooks, sandbox: Sandbox
) -> None:
    servers = {}
    for number, case in enumerate(cases, start=1):
        more = case.prepare(sandbox, number) or {}
        assert isinstance(more, dict)
        servers[f"web_{number}"] = playbooks.server(number, **case.variables, **more)
    sandbox.forget_requests()
    inventory = playbooks.inventory(**servers)
    before = sandbox.state()
    check = playbooks.run(playbook, inventory, "--check", "--diff")
    assert check.code == 0, check.output
    assert sandbox.state() == before
    assert {request.split()[0] for request in sandbox.requests()} == {"GET"}

    real = playbooks.run(playbook, inventory, "--diff")
    assert real.code == 0, real.output
    assert diffs(check) == diffs(real)
    assert changed(check) == changed(real) == {name.replace("_", "-") for name in servers}

    again = playbooks.run(playbook, inventory, "--diff")
    assert again.code == 0, again.output
    assert changed(again) == {f"web-{n}" for n, case in enumerate(cases, start=1) if case.command}
    assert "canary" not in check.output + real.output + repr(check.results + real.results)


def test_a_look_for_drift_changes_nothing_without_check_mode_either(
    playbooks: Playbooks, sandbox: Sandbox
) -> None:
    sandbox.own_server(1)
    strangers(sandbox, 2)
    given = WALL | CHANGE | {"pve_config_description": Unsafe("{{ lookup('pipe', 'id') }}")}
    inventory = playbooks.inventory(web_1=playbooks.server(1, **given), web_2=playbooks.server(2, **given))
    before = sandbox.state()
    run = playbooks.run("server_drift.yml", inventory)
    assert run.code == 0, run.output
    assert sandbox.state() == before
    assert {request.split()[0] for request in sandbox.requests()} == {"GET"}
    told = {result.host: result.result["drift"] for result in run.results if "drift" in result.result}
    found = {entry["setting"]: entry for entry in told["web-1"]["differences"]}
    assert found["description"]["recorded"] == "{{ lookup('pipe', 'id') }}"
    assert {"cores", "net0.tag", "net1.model", "boot_order", "firewall.rules"} <= found.keys()
    assert [entry["setting"] for entry in told["web-2"]["differences"]] == ["owner"]
    assert told["web-2"]["settings"] is None


def test_notes_are_not_enough_for_a_vm_that_must_be_identified(
    playbooks: Playbooks, sandbox: Sandbox
) -> None:
    stranger = "uuid=9e60e40f-a6f6-4eca-b680-8f3b1f089265"
    sandbox.own_server(1, smbios1=stranger)
    before = sandbox.state()
    strict = playbooks.inventory(web_1=playbooks.server(1, **(NOTHING | WALL), pve_identified=True))
    run = playbooks.run("server_firewall.yml", strict)
    assert [r.result["error"]["code"] for r in run.results if "error" in r.result] == ["vm_not_ours"]
    assert sandbox.state() == before
    sandbox.change(1101, config={"smbios1": f"uuid={UUID(int=1)}"})
    assert playbooks.run("server_firewall.yml", strict).code == 0
