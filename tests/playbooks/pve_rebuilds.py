"""A server that is rebuilt, and what must be true of it, whatever happens."""

from dataclasses import dataclass
from typing import Any

from tests.playbooks.pve_playbooks import Sandbox
from tests.playbooks.pve_plugins import MARK, Plugins

DONE = f"{MARK}\njotunheim:rebuild=job-1\nnotes"


@dataclass
class Scene:
    """A running server of ours with a disk that its user detached, a data disk, and a neighbour.

    Attributes:
        old: the server's system disk.
        kept: its other volumes.
    """

    plugins: Plugins
    sandbox: Sandbox
    old: str
    kept: dict[str, str]
    before: dict[str, Any]
    others: dict[int, Any]

    def assert_nothing_lost(self, moment: str) -> None:
        """In the middle of it, or after a failure."""
        now, volumes = dict(self.sandbox.vm(1101)["config"]), self.plugins.volumes()
        assert now["smbios1"] == self.before["smbios1"], moment
        for key, volume in self.kept.items():
            assert now[key].split(",")[0] == volume, moment
            assert volume in volumes, moment
        if "jotunheim:rebuild=" not in now["description"]:
            assert self.old in volumes, moment
            assert self.old in {str(value).split(",")[0] for value in now.values()}, moment
        self.assert_others_untouched(moment)

    def assert_others_untouched(self, moment: str) -> None:
        others = {vmid: vm for vmid, vm in self.sandbox.vms().items() if vmid not in {1101, 1901}}
        assert bare(others) == self.others, moment

    def template(self, vmid: int, **config: Any) -> None:
        """Another template, with a disk of its own and these changes."""
        self.plugins.run("POST", "nodes/pve1/qemu/9000/clone", newid=vmid, full=1)
        self.sandbox.change(vmid, config=config)
        self.plugins.run("POST", f"nodes/pve1/qemu/{vmid}/template")
        self.others = bare({vmid: vm for vmid, vm in self.sandbox.vms().items() if vmid != 1101})

    def assert_old(self) -> None:
        """Everything of the server is as it was, down to its volumes, and it runs."""
        vm = self.sandbox.vm(1101)
        assert (vm["config"], vm["status"]) == (self.before, "running")
        mine = {volid for volid, volume in self.plugins.volumes().items() if volume["vmid"] == 1101}
        assert {volid for volid in mine if "cloudinit" not in volid} == {self.old, *self.kept.values()}
        self.assert_others_untouched("")

    def assert_done(self, moment: str = "", device: str = "scsi0", **expected: Any) -> None:
        """The server runs from exactly one new disk, and all else is as it was, but for what is `expected`.

        Args:
            device: where the disk is now.
            expected: settings of the server that differ; None: it has none.
        """
        vm = self.sandbox.vm(1101)
        after = dict(vm["config"])
        assert vm["status"] == "running", moment
        assert after[device].split(",")[0] != self.old, moment
        expected = {"description": DONE, "scsi0": None, device: after[device]} | expected
        assert after == {k: v for k, v in (self.before | expected).items() if v is not None}, moment
        assert 1901 not in self.sandbox.vms(), moment
        volumes = self.plugins.volumes()
        new = after[device].split(",")[0]
        mine = {volid for volid, volume in volumes.items() if volume["vmid"] == 1101}
        cloudinit = {volid for volid in mine if "cloudinit" in volid}
        assert mine == {new, *self.kept.values()} | cloudinit, moment
        assert not [volid for volid, volume in volumes.items() if volume["vmid"] == 1901], moment
        self.assert_others_untouched(moment)


def bare(vms: dict[int, Any]) -> dict[int, Any]:
    """VMs without what time changes."""
    return {
        vmid: {k: v for k, v in vm.items() if k not in {"uptime", "agent_answers", "counters"}}
        for vmid, vm in vms.items()
    }


def stage(sandbox: Sandbox, **settings: Any) -> Scene:
    """Set the scene; `settings` are more of the server's configuration."""
    plugins = Plugins(sandbox)
    plugins.clone(1102, "theirs")
    plugins.clone(1101, f"{MARK}\nnotes", start=False, **settings)
    path = "nodes/pve1/qemu/1101/config"
    plugins.run("PUT", path, scsi1="vmstore:1", scsi2="vmstore:1")
    plugins.run("PUT", path, delete="scsi2")
    plugins.run("POST", "nodes/pve1/qemu/1101/status/start")
    before = dict(sandbox.vm(1101)["config"])
    kept = {key: before[key].split(",")[0] for key in ("scsi1", "unused0")}
    others = bare({vmid: vm for vmid, vm in sandbox.vms().items() if vmid != 1101})
    sandbox.forget_requests()
    return Scene(plugins, sandbox, before["scsi0"].split(",")[0], kept, before, others)
