"""Builds of templates that go wrong: whatever a request meets, the next one ends it, and there is one template."""

from dataclasses import replace
from typing import Any

import pytest

from jotunheim.exceptions import JotunheimError
from jotunheim.exceptions.repository import TemplateDiffersError, TemplateInUseError, VmidTakenError
from jotunheim.repositories.proxmox import tasks
from tests.playbooks.pve_playbooks import Sandbox
from tests.playbooks.pve_plugins import Death, Killed, Plugins, Trouble
from tests.playbooks.pve_templates import GIB, IMAGE, NEWER, disks, images, made_once
from tests.support.images import ImageServer, sha256

from ansible_collections.jotunheim.pve.plugins.plugin_utils import template, template_build, template_vm  # isort: skip
from ansible_collections.jotunheim.pve.plugins.plugin_utils.ownership import template_uuid  # isort: skip
from ansible_collections.jotunheim.pve.plugins.plugin_utils.vm import Vm  # isort: skip


@pytest.fixture
def wanted(web: ImageServer, monkeypatch: pytest.MonkeyPatch) -> template.Wanted:
    """The template, for the plugins' own functions; tasks are looked at more often than the stand-in needs for them."""
    monkeypatch.setattr(tasks, "FIRST_PAUSE_SECONDS", 0.01)
    url = f"{web.url}/debian-12.img"
    return template.Wanted(url, sha256(IMAGE), "debian", "vmstore", disk_bytes=3 * GIB, timeout_seconds=20)


def build(vm: Vm, wanted: template.Wanted) -> None:
    """All phases, as the role has them."""
    own = vm.beside(9101, template_uuid(9101))
    for phase in (template_build.fetch, template_build.make, template_build.clean):
        phase(own, wanted, checking=False)


class TestEveryRequest:
    @pytest.mark.parametrize("journaled", [False, True], ids=["by hand", "with a journal"])
    def test_a_death_at_any_request(self, sandbox: Sandbox, wanted: template.Wanted, journaled: bool) -> None:
        plugins, deaths = Plugins(sandbox), []
        for death in plugins.deaths(lambda vm: build(vm, wanted), journaled=journaled):
            plugins.settle()
            made_once(sandbox, disk="size=3G")
            deaths.append(death)
        requests = ["download-url", "qemu", "resize", "template"]
        assert [death.rpartition("/")[2] for death in deaths] == [name for name in requests for _ in range(2)]

    def test_a_death_while_another_image_takes_its_place(
        self, sandbox: Sandbox, web: ImageServer, wanted: template.Wanted
    ) -> None:
        plugins = Plugins(sandbox)
        newer = replace(wanted, url=f"{web.url}/newer.qcow2", checksum=sha256(NEWER), keep_image=False)
        build(plugins.vm(), replace(newer, checksum=wanted.checksum, url=wanted.url))
        deaths = []
        for death in plugins.deaths(lambda vm: build(vm, replace(newer, replace=True))):
            plugins.settle()
            config = sandbox.vm(9101)["config"]
            assert config["description"] == f"jotunheim:template={newer.checksum}"
            assert (len(disks(sandbox)), images(sandbox)) == (2, [])
            deaths.append(death)
        assert len(deaths) == 2 * 6

    @pytest.mark.parametrize(
        "fault",
        [
            {"status": 500, "message": "can't lock file '/var/lock/x' - got timeout"},
            {"status": 596, "empty": True},
            {"status": 596, "empty": True, "when": "after"},
            {"reset": True, "when": "after"},
            {"task_fails": "unexpected end of file"},
        ],
        ids=lambda fault: " ".join(map(str, fault.values())),
    )
    def test_trouble_at_any_request(
        self, sandbox: Sandbox, wanted: template.Wanted, fault: dict[str, Any]
    ) -> None:
        plugins = Plugins(sandbox)
        initial = sandbox.state()
        for number in range(1, 5):
            trouble = Trouble(number, sandbox=sandbox, fault=fault)
            with pytest.raises(JotunheimError):
                build(plugins.vm(death=trouble), wanted)
            build(plugins.vm(), wanted)
            plugins.settle()
            made_once(sandbox, disk="size=3G")
            sandbox.control("PUT", "/state", **initial)

    def test_what_was_left_half_made_of_another_image_is_made_anew(
        self, sandbox: Sandbox, web: ImageServer, wanted: template.Wanted
    ) -> None:
        plugins = Plugins(sandbox)
        other = replace(wanted, url=f"{web.url}/newer.qcow2", checksum=sha256(NEWER))
        with pytest.raises(Killed):
            build(plugins.vm(death=Death(3)), other)
        assert "template" not in sandbox.vm(9101)["config"]
        plugins.run("POST", "nodes/pve1/qemu/9101/status/start")  # somebody works in it
        with pytest.raises(TemplateDiffersError):
            build(plugins.vm(), wanted)
        plugins.run("POST", "nodes/pve1/qemu/9101/status/stop")
        build(plugins.vm(), wanted)
        assert disks(sandbox) == [
            "vmstore:9101/base-9101-disk-0.qcow2",
            "vmstore:9101/vm-9101-cloudinit.qcow2",
        ]
        assert sandbox.vm(9101)["config"]["description"] == f"jotunheim:template={wanted.checksum}"

    def test_a_half_made_one_with_a_larger_disk_is_made_anew(
        self, sandbox: Sandbox, wanted: template.Wanted
    ) -> None:
        plugins = Plugins(sandbox)
        with pytest.raises(Killed):
            build(plugins.vm(death=Death(4)), replace(wanted, disk_bytes=8 * GIB))
        assert sandbox.vm(9101)["config"]["scsi0"].endswith("size=8G")
        build(plugins.vm(), wanted)
        made_once(sandbox, disk="size=3G")

    def test_a_vm_of_another_node_is_seen_before_anything_is_fetched(
        self, sandbox: Sandbox, web: ImageServer, wanted: template.Wanted
    ) -> None:
        sandbox.control("POST", "/reset", nodes=2)
        plugins = Plugins(sandbox)
        plugins.run("POST", "nodes/pve2/qemu", vmid=9101, name="theirs")
        web.requests.clear()
        with pytest.raises(VmidTakenError, match="on another node") as refused:
            build(plugins.vm(), wanted)
        assert {9000, 9101} <= set(refused.value.taken_vmids)
        assert web.requests == []

    def test_pves_own_refusal_is_told(
        self, sandbox: Sandbox, web: ImageServer, wanted: template.Wanted, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Of linked clones that the token does not see."""
        plugins = Plugins(sandbox)
        build(plugins.vm(), wanted)
        plugins.run("POST", "nodes/pve1/qemu/9101/clone", newid=9105, name="linked")
        before = sandbox.vm(9101)
        for module in (template_build, template_vm):
            monkeypatch.setattr(module, "check_unlinked", lambda *_: None)
        newer = replace(wanted, url=f"{web.url}/newer.qcow2", checksum=sha256(NEWER), replace=True)
        with pytest.raises(TemplateInUseError, match="still in use by linked clone"):
            build(plugins.vm(), newer)
        assert sandbox.vm(9101) == before
