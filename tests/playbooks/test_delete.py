"""`server_delete.yml` and the plugin behind it: what goes, what stays, and that an error never means "gone"."""

import time
from typing import Any

import pytest

from jotunheim.exceptions.repository import ProxmoxRequestError
from jotunheim.repositories.proxmox.configuration import archived_config
from tests.playbooks.pve_playbooks import Playbooks, Sandbox
from tests.playbooks.pve_plugins import MARK, UUID, Plugins
from tests.support.processes import wait_for

from ansible_collections.jotunheim.pve.plugins.plugin_utils import destroy  # isort: skip
from ansible_collections.jotunheim.pve.plugins.plugin_utils.ownership import scratch_uuid  # isort: skip
from ansible_collections.jotunheim.pve.plugins.plugin_utils.vm import Vm  # isort: skip

SCRATCH_MARK = f"jotunheim:server={scratch_uuid(UUID)}"
THEIRS = "jotunheim:server=00000000-0000-0000-0000-000000000002"


@pytest.fixture
def plugins(sandbox: Sandbox) -> Plugins:
    """A running server of ours with a second disk, beside another's VM that must not change."""
    plugins = Plugins(sandbox)
    plugins.clone(1101, MARK)
    plugins.clone(1102, THEIRS)
    plugins.run("PUT", "nodes/pve1/qemu/1101/config", scsi1="vmstore:1")
    sandbox.forget_requests()
    return plugins


def backup(plugins: Plugins, vmid: int, **params: Any) -> None:
    plugins.run("POST", "nodes/pve1/vzdump", vmid=str(vmid), storage="local", **params)


def delete(playbooks: Playbooks, *arguments: str, **variables: Any) -> Any:
    given = {f"pve_delete_{name}": value for name, value in variables.items() if name != "server"}
    server = playbooks.server(**given, **variables.get("server", {}))
    return playbooks.run("server_delete.yml", playbooks.inventory(web_1=server), "--diff", *arguments)


def rest(plugins: Plugins, *vmids: int) -> dict[str, Any]:
    """Everything but what belongs to these VMs."""
    vms = plugins.sandbox.control("GET", "/state")["vms"]
    vms = {vmid: vm for vmid, vm in vms.items() if int(vmid) not in vmids}
    volumes = {volid: v for volid, v in plugins.volumes().items() if v["vmid"] not in vmids}
    return {"vms": vms, "volumes": volumes}


def volumes_of(plugins: Plugins, vmid: int) -> list[str]:
    return [volid for volid, volume in plugins.volumes().items() if volume["vmid"] == vmid]


def delete_here(vm: Vm) -> None:
    """What the plugin does."""
    found = destroy.find(vm, 20)
    if found is not None:
        destroy.destroy(vm, found, 20)


class TestDelete:
    def test_a_running_server_goes_with_all_its_disks_and_nothing_else_does(
        self, playbooks: Playbooks, plugins: Plugins, sandbox: Sandbox
    ) -> None:
        plugins.run("PUT", "nodes/pve1/qemu/1101/config", scsi2="vmstore:1")
        sandbox.change(1101, config={"scsi2": None})  # now no configuration names its volume
        before = rest(plugins, 1101)
        sandbox.forget_requests()
        check = delete(playbooks, "--check")
        assert {request.split()[0] for request in sandbox.requests()} == {"GET"}
        assert check.of("vm_delete")["deleted"] is False
        sandbox.forget_requests()
        run = delete(playbooks)
        assert run.code == 0, run.output
        assert run.of("vm_delete")["deleted"] is True
        assert (
            check.diffs
            == run.diffs
            == {"Delete the server": {"before": {"exists": True}, "after": {"exists": False}}}
        )
        requests = sandbox.requests()
        last = requests.index("DELETE /nodes/pve1/qemu/1101")
        assert requests[last - 1] == "GET /nodes/pve1/qemu/1101/config", "the mark is read just before"
        assert 1101 not in sandbox.vms()
        assert volumes_of(plugins, 1101) == []
        assert rest(plugins, 1101) == before
        sandbox.forget_requests()
        again = delete(playbooks)
        assert again.code == 0
        assert (again.changed, again.of("vm_delete")["deleted"]) == ([], True)
        assert sandbox.requests() == ["GET /nodes/pve1/qemu/1101/config", "GET /cluster/resources"]

    def test_only_backups_that_carry_the_uuid_go(
        self, playbooks: Playbooks, plugins: Plugins, sandbox: Sandbox
    ) -> None:
        backup(plugins, 1101)
        sandbox.change(1101, config={"description": "jotunheim:server=another", "smbios1": f"uuid={UUID}"})
        backup(plugins, 1101)
        sandbox.change(1101, config={"description": "an earlier VM", "smbios1": "uuid=" + "1" * 8})
        backup(plugins, 1101)
        sandbox.change(1101, config={"description": MARK})
        backup(plugins, 1101, protected=True)
        backup(plugins, 1102)
        mine = [volid for volid in volumes_of(plugins, 1101) if volid.startswith("local:")]
        assert len(mine) == 4
        check = delete(playbooks, "--check", backups=True, backup_storage="local")
        run = delete(playbooks, backups=True)
        assert run.code == 0, run.output
        result = run.of("vm_delete")
        assert check.diffs == run.diffs
        assert result["backups_deleted"] == mine[:2]
        assert result["backups_kept"] == mine[2:]
        assert volumes_of(plugins, 1101) == mine[2:]
        again = delete(playbooks, backups=True)
        assert (again.changed, again.of("vm_delete")["backups_kept"]) == ([], mine[2:])
        assert any(volid.startswith("local:") for volid in volumes_of(plugins, 1102))

    def test_the_rest_of_a_rebuild_goes_too_unless_it_is_anothers(
        self, playbooks: Playbooks, plugins: Plugins, sandbox: Sandbox
    ) -> None:
        plugins.clone(1901, SCRATCH_MARK, start=False)
        check = delete(playbooks, "--check", scratch_vmid=1901)
        run = delete(playbooks, scratch_vmid=1901)
        assert run.code == 0, run.output
        assert check.diffs == run.diffs
        assert set(sandbox.vms()) == {1102, 9000}
        assert delete(playbooks, scratch_vmid=1102).changed == []
        assert set(sandbox.vms()) == {1102, 9000}


class TestRefusal:
    @pytest.mark.parametrize(
        ("change", "code"),
        [
            ({"config": {"description": THEIRS}}, "vm_not_ours"),
            ({"config": {"protection": "1"}}, "vm_protected"),
            ({"lock": "backup"}, "vm_locked"),
        ],
    )
    def test_nothing_is_touched(
        self, plugins: Plugins, sandbox: Sandbox, change: dict[str, Any], code: str
    ) -> None:
        sandbox.change(1101, **change)
        before = sandbox.control("GET", "/state")
        with pytest.raises(ProxmoxRequestError) as caught:
            delete_here(plugins.vm())
        assert caught.value.code == code
        assert caught.value.hint
        assert sandbox.control("GET", "/state") == before

    def test_a_vm_that_becomes_anothers_while_it_is_stopped_is_not_destroyed(
        self, plugins: Plugins, sandbox: Sandbox
    ) -> None:
        vm = plugins.vm()
        found = destroy.find(vm, 20)
        assert found is not None
        sandbox.change(1101, config={"description": THEIRS})
        with pytest.raises(ProxmoxRequestError) as caught:
            destroy.destroy(vm, found, 20)
        assert caught.value.code == "vm_not_ours"
        assert 1101 in sandbox.vms()

    def test_a_vm_on_another_node_is_named_and_not_touched(
        self, playbooks: Playbooks, plugins: Plugins, sandbox: Sandbox
    ) -> None:
        sandbox.control("POST", "/reset", nodes=2)
        plugins.clone(1101, MARK, start=False)
        state = sandbox.control("GET", "/state")
        state["vms"]["1101"]["node"] = "pve2"
        sandbox.control("PUT", "/state", **state)
        run = delete(playbooks, backups=True, scratch_vmid=1901)
        assert run.error["code"] == "vm_moved"
        assert "pve2" in run.error["message"]
        assert sandbox.vm(1101)["node"] == "pve2"

    def test_no_error_means_gone(self, plugins: Plugins, sandbox: Sandbox) -> None:
        plugins.run("POST", "nodes/pve1/qemu/1101/status/stop")
        state = sandbox.control("GET", "/state")
        for there, path in ((True, "/1101/config$"), (False, "/1101/config$"), (False, "/cluster/resources")):
            if not there:
                plugins.run("DELETE", "nodes/pve1/qemu/1101")
            for fault in (
                {"status": 595, "empty": True},
                {"status": 500, "message": "unable to open file - does not matter"},
                {"status": 500, "message": "VM 1101 not running"},
                {"status": 403, "message": "Permission check failed"},
                {"status": 401, "empty": True},
                {"reset": True},
            ):
                sandbox.fault(method="GET", path=path, count=None, **fault)
                with pytest.raises(ProxmoxRequestError):
                    delete_here(plugins.vm())
                sandbox.control("DELETE", "/faults")
            sandbox.control("PUT", "/state", **state)


class TestRecovery:
    def test_whenever_it_dies_the_next_attempt_ends_it(self, plugins: Plugins) -> None:
        others = rest(plugins, 1101)
        seen = []
        for journaled in (True, False):
            for moment in plugins.deaths(delete_here, journaled=journaled):
                seen.append(moment)
                assert rest(plugins) == others, moment
        assert len(seen) == 2 * 2 * 2, seen

    @pytest.mark.parametrize("effect", [{"reset": True}, {"status": 596}, {"status": 500, "message": "oops"}])
    @pytest.mark.parametrize("when", ["before", "after"])
    @pytest.mark.parametrize("path", ["/status/stop$", "/qemu/1101$"])
    def test_a_request_that_fails_can_be_repeated(
        self, plugins: Plugins, sandbox: Sandbox, path: str, when: str, effect: dict[str, Any]
    ) -> None:
        others = rest(plugins, 1101)
        sandbox.fault(path=path, when=when, **effect)
        with pytest.raises(ProxmoxRequestError):
            delete_here(plugins.vm())
        delete_here(plugins.vm())
        plugins.settle()
        assert rest(plugins) == others

    @pytest.mark.usefixtures("plugins")
    def test_a_noted_deletion_is_waited_for(self, playbooks: Playbooks, sandbox: Sandbox) -> None:
        sandbox.control("PATCH", "/settings", durations={"destroy": 60.0})
        notes = playbooks.with_journal() / "web-1"
        inventory = playbooks.inventory(web_1=playbooks.server())
        try:
            first = playbooks.start("server_delete.yml", inventory)
            wait_for(lambda: notes.exists() and "delete " in notes.read_text(), "the task's id")
            first.kill()
            first.communicate(timeout=10)
            again = delete(playbooks)
        finally:
            sandbox.control("PATCH", "/settings", durations={"destroy": 0.5})
        assert again.code == 0, again.output
        assert again.of("vm_delete")["deleted"] is True
        assert len(sandbox.tasks("qmdestroy")) == 1

    def test_a_server_that_is_being_cloned_is_waited_for(self, plugins: Plugins, sandbox: Sandbox) -> None:
        sandbox.control("PATCH", "/settings", rates={"clone": 50_000_000.0})
        with sandbox.client() as pve:
            pve.post("nodes/pve1/qemu/9000/clone", newid=1103, name="n", description=MARK, full=True)
        while sandbox.vms().get(1103, {}).get("lock") != "clone":
            time.sleep(0.01)
        delete_here(plugins.vm(vmid=1103))
        assert 1103 not in sandbox.vms()
        assert volumes_of(plugins, 1103) == []


def test_a_backups_configuration_is_read_without_its_snapshots() -> None:
    text = (
        "#jotunheim%3Aserver=x\n#%C3%BC notes\nname: a\nsmbios1: uuid=1,serial=b:c\n[old]\nname: b\n#other\n"
    )
    assert archived_config(text) == {
        "description": "jotunheim:server=x\nü notes",
        "name": "a",
        "smbios1": "uuid=1,serial=b:c",
    }
