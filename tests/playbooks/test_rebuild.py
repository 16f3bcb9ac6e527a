"""`server_rebuild.yml` and the plugin behind it: a new disk, and everything else as it was."""

from typing import Any

import pytest

from jotunheim.exceptions.repository import ProxmoxRequestError
from tests.playbooks.pve_playbooks import Playbooks, Sandbox
from tests.playbooks.pve_plugins import MARK, Plugins

from ansible_collections.jotunheim.pve.plugins.plugin_utils import power, rebuild  # isort: skip
from ansible_collections.jotunheim.pve.plugins.plugin_utils.vm import Vm  # isort: skip

WANTED = rebuild.Rebuild(9000, 1901, "job-1", timeout_seconds=20)


@pytest.fixture
def plugins(sandbox: Sandbox) -> Plugins:
    """A running server of ours."""
    plugins = Plugins(sandbox)
    plugins.clone(1101, f"{MARK}\nnotes")
    sandbox.forget_requests()
    return plugins


def swap(vm: Vm, wanted: rebuild.Rebuild = WANTED) -> None:
    rebuild.prepare(vm, wanted, checking=False)
    rebuild.swap_disks(vm, wanted, checking=False)


def whole(vm: Vm, wanted: rebuild.Rebuild = WANTED) -> None:
    """What the playbook does, without cloud-init."""
    swap(vm, wanted)
    needed = power.step(str(vm.status()["status"]), power.Power.STARTED)
    if needed is not None:
        power.perform(vm, needed, 20, force=False)
    rebuild.clean(vm, wanted, None)


def config(sandbox: Sandbox) -> dict[str, Any]:
    return dict(sandbox.vm(1101)["config"])


def test_whenever_it_dies_the_next_attempt_ends_it(plugins: Plugins, sandbox: Sandbox) -> None:
    before = config(sandbox)
    moments = []
    for moment in plugins.deaths(whole):
        moments.append(moment)
        after = config(sandbox)
        assert sandbox.vm(1101)["status"] == "running", moment
        assert after.pop("description") == f"{MARK}\njotunheim:rebuild=job-1\nnotes"
        assert after.pop("scsi0") != before["scsi0"]
        expected = {key: value for key, value in before.items() if key not in {"description", "scsi0"}}
        assert after == expected, moment
        assert 1901 not in sandbox.vms(), moment
        assert len(sandbox.vm(1101)["disks"]) == 2, moment
    assert len(moments) >= 14


@pytest.mark.parametrize("path", ["/clone$", "/status/stop$", "/1101/config$", "/move_disk$"])
def test_a_refused_request_leaves_the_server_on_its_old_disk(
    plugins: Plugins, sandbox: Sandbox, path: str
) -> None:
    before = config(sandbox)
    sandbox.fault(path=path, method="PUT" if "config" in path else "POST", status=500, message="oops")
    with pytest.raises(ProxmoxRequestError):
        swap(plugins.vm())
    assert config(sandbox) == before
    assert sandbox.vm(1101)["status"] == "running"
    whole(plugins.vm())
    assert "jotunheim:rebuild=job-1" in config(sandbox)["description"]


def test_snapshots_forbid_it_before_anything_happens(plugins: Plugins, sandbox: Sandbox) -> None:
    plugins.run("POST", "nodes/pve1/qemu/1101/snapshot", snapname="keep")
    before = sandbox.vm(1101)["config"]
    with pytest.raises(ProxmoxRequestError) as caught:
        swap(plugins.vm())
    assert (caught.value.code, "keep" in caught.value.message) == ("snapshots_exist", True)
    assert sandbox.vm(1101)["config"] == before
    assert 1901 not in sandbox.vms()


def test_another_vm_under_the_scratch_vmid_is_not_touched(plugins: Plugins, sandbox: Sandbox) -> None:
    plugins.clone(1901, "theirs")
    before = sandbox.control("GET", "/state")["vms"]
    with pytest.raises(ProxmoxRequestError) as caught:
        swap(plugins.vm())
    assert caught.value.code == "vmid_taken"
    assert sandbox.control("GET", "/state")["vms"] == before


def test_check_mode_predicts_the_playbook_and_a_second_run_changes_nothing(
    playbooks: Playbooks, plugins: Plugins, sandbox: Sandbox
) -> None:
    server = {name: v for name, v in playbooks.server().items() if not name.startswith("pve_config_")}
    server |= {
        "pve_rebuild_template_vmid": 9000,
        "pve_rebuild_scratch_vmid": 1901,
        "pve_rebuild_id": "job-1",
        "pve_rebuild_disk_bytes": 3 * 1024**3,
    }
    inventory = playbooks.inventory(web_1=server)
    before = plugins.sandbox.control("GET", "/state")["vms"]
    check = playbooks.run("server_rebuild.yml", inventory, "--diff", "--check")
    assert sandbox.control("GET", "/state")["vms"] == before
    run = playbooks.run("server_rebuild.yml", inventory, "--diff")
    assert run.code == 0, run.output
    assert check.diffs == run.diffs
    assert config(sandbox)["scsi0"].endswith("size=3G")
    assert playbooks.run("server_rebuild.yml", inventory, "--diff").changed == []
