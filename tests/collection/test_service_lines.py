"""What a VM's notes say about a rebuild, whatever its user writes into them."""

from typing import Any

import pytest

from jotunheim.exceptions.model import DataValidationError
from tests.collection.conftest import COLLECTIONS

assert COLLECTIONS.is_dir()  # importing its conftest made the collection importable

from ansible_collections.jotunheim.pve.plugins.plugin_utils import swap  # noqa: E402
from ansible_collections.jotunheim.pve.plugins.plugin_utils.ownership import (  # noqa: E402
    described,
    description_text,
    identity,
    is_ours,
    mark,
    service_lines,
    template_checksum,
    template_mark,
    template_uuid,
)
from ansible_collections.jotunheim.pve.plugins.plugin_utils.progress import Progress  # noqa: E402

UUID = "00000000-0000-0000-0000-00000000abcd"
OLD, NEW = "vmstore:100/vm-100-disk-0.qcow2", "vmstore:100/vm-100-disk-1.qcow2"
VM = {"smbios1": f"uuid={UUID}", "scsi0": f"{OLD},size=2G", "boot": "order=scsi0;net0", "unused3": NEW}
TEMPLATE = {"scsi0": "vmstore:9000/base-9000-disk-0.qcow2,size=2G", "boot": "order=scsi0"}
VIRTIO = {"virtio0": TEMPLATE["scsi0"], "boot": "order=virtio0"}

LINES = {
    "none": [],
    "under way": Progress(()).begun([("scsi0", f"{OLD},size=2G"), ("virtio0", "")], "job-1", running=True),
    "finished": [f"jotunheim:replaced=scsi0={OLD}", "jotunheim:rebuild=job-1"],
    "discarded": ["jotunheim:rebuild=job-1", f"jotunheim:discarded={NEW}"],
}
TEXTS = {
    "empty": "",
    "ordinary": "one\ntwo",
    "our line": f"jotunheim:replaced=scsi1={OLD}",
    "our lines": f"jotunheim:replaced=scsi1={OLD}\njotunheim:rebuild=job-9\nmore",
    "after empty lines": f"\n\njotunheim:discarded={OLD}",
    "our mark": f"{mark(UUID)}\njotunheim:rebuild=job-9",
    "another's mark": "jotunheim:server=11111111-1111-1111-1111-111111111111",
    "half a line": "jotunheim:replaced",
    "leading empty lines": "\n\nnotes",
    "indented": "  jotunheim:rebuild=job-9",
    "other separators": "a\x0bjotunheim:rebuild=job-9\u2028jotunheim:rebuild=job-9",
    "long": "x" * 8000,
}


def noted(text: str, lines: list[str]) -> dict[str, Any]:
    return {**VM, "description": described(UUID, text, lines)}


@pytest.mark.parametrize("lines", LINES.values(), ids=LINES.keys())
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
class TestWhateverTheUserWrites:
    def test_lines_and_text_come_back(self, text: str, lines: list[str]) -> None:
        config = noted(text, lines)
        assert (service_lines(config), description_text(config)) == (lines, text)
        assert is_ours({"description": config["description"]}, UUID)

    def test_as_windows_writes_it_too(self, text: str, lines: list[str]) -> None:
        config = noted(text, lines)
        config["description"] = config["description"].replace("\n", "\r\n") + "\r\n"
        assert (service_lines(config), description_text(config)) == (lines, text)

    def test_a_new_text_keeps_the_lines(self, text: str, lines: list[str]) -> None:
        config = noted("before", lines)
        after = identity(config, UUID, text).applied_to(config)
        assert (service_lines(after), description_text(after)) == (lines, text)
        assert not identity(after, UUID, text)
        assert not identity(after, UUID, None)


@pytest.mark.parametrize("text", [t for n, t in TEXTS.items() if n != "long"])
@pytest.mark.parametrize("template", [TEMPLATE, VIRTIO], ids=["same key", "another key"])
def test_taking_a_swap_back_leaves_the_notes_as_they_were(text: str, template: dict[str, Any]) -> None:
    before = noted(text, LINES["finished"])
    device = swap.system_disk(template)
    config = swap.detach(before, UUID, device, "job-2", running=True).applied_to(before)
    assert config.keys() == before.keys() - {"scsi0"}
    assert (Progress.of(config).swapping, Progress.of(config).ran) == ("job-2", True)
    assert not Progress.of(config).is_swapped("job-1")
    assert not Progress.of(config).is_swapped("job-2")
    assert swap.undo(config, UUID).applied_to(config) == before
    given = config | {device: "vmstore:100/vm-100-disk-2.qcow2,size=2G"}
    assert swap.handed_over(given) == "vmstore:100/vm-100-disk-2.qcow2"
    assert swap.undo(given, UUID).applied_to(given) == before


@pytest.mark.parametrize("text", [t for n, t in TEXTS.items() if n != "long"])
def test_no_text_makes_a_disk_disappear(text: str) -> None:
    """`clean` removes what our own lines name, and nothing that the user's text names."""
    config = noted(text, ["jotunheim:rebuild=job-1"]) | {"unused0": OLD}
    assert swap.clean(config, UUID).deletes == []
    assert swap.discard(config, UUID).deletes == []


@pytest.mark.parametrize("key", ["scsi0", "scsi1", "efidisk0"])
def test_a_noted_disk_that_is_in_use_again_stays(key: str) -> None:
    config = {**noted("", LINES["finished"]), key: f"{OLD},size=2G"}
    config.pop("unused3")
    assert swap.clean(config, UUID).deletes == []


def test_of_several_unused_disks_only_the_noted_ones_go() -> None:
    lines = [*LINES["finished"], f"jotunheim:discarded={NEW}"]
    config = noted("", lines) | {
        "unused0": f"{OLD}0",
        "unused1": OLD,
        "unused2": f"x{OLD}",
        "unused9": OLD[:-1],
    }
    assert swap.clean(config, UUID).deletes == ["unused1", "unused3"]
    assert swap.discard(config, UUID).deletes == ["unused3"]
    after = swap.clean(config, UUID).applied_to(config)
    assert service_lines(after) == ["jotunheim:rebuild=job-1"]


def test_a_disk_of_a_swap_under_way_never_goes() -> None:
    lines = [*LINES["finished"], f"jotunheim:replaced=scsi0={NEW},size=2G"]
    config = noted("", lines) | {"unused0": OLD}
    assert swap.clean(config, UUID).deletes == ["unused0"]
    assert service_lines(swap.clean(config, UUID).applied_to(config)) == [
        "jotunheim:rebuild=job-1",
        f"jotunheim:replaced=scsi0={NEW},size=2G",
    ]


def test_lines_without_our_mark_are_the_users() -> None:
    text = f"jotunheim:replaced=scsi0={OLD}\njotunheim:rebuild=job-1"
    config = {"smbios1": f"uuid={UUID}", "description": text}
    assert (service_lines(config), description_text(config)) == ([], text)
    after = identity(config, UUID, None).applied_to(config)
    assert (service_lines(after), description_text(after)) == ([], text)


@pytest.mark.parametrize(
    "config", [{}, {"description": ""}, {"description": "\r\n \n"}, {"description": mark(UUID)}]
)
def test_no_notes_are_no_progress(config: dict[str, Any]) -> None:
    progress = Progress.of(config)
    assert (progress.rebuild_id, progress.under_way, progress.left_over_volumes) == (None, {}, [])
    assert (progress.swapping, progress.ran, description_text(config)) == (None, False, "")


def test_notes_that_leave_no_room_are_refused_before_anything_is_written() -> None:
    def refused(length: int) -> bool:
        try:
            swap.check_room(noted("x" * length, []), UUID, VIRTIO, "job-1")
        except DataValidationError as error:
            return [problem.field for problem in error.problems] == ["description"]
        return False

    longest = next(length for length in range(8192, 7000, -1) if not refused(length))
    config = noted("x" * longest, [])
    config |= swap.detach(config, UUID, "virtio0", "job-1", running=True).writes
    begun = len(config["description"])
    config |= swap.attached(config, UUID, VIRTIO, "job-1").writes
    assert max(begun, len(config["description"])) == 8192


def test_equals_signs_in_values_survive() -> None:
    value = f"{OLD},serial=a=b,size=2G"
    lines = Progress(()).begun([("scsi0", value)], "job:1", running=False)
    assert Progress(tuple(lines)).under_way == {"scsi0": value}
    assert Progress(tuple(lines)).swapping == "job:1"
    done = Progress(tuple(Progress(tuple(lines)).swapped("job:1")))
    assert done.left_over_volumes == [OLD]


class TestTemplates:
    CHECKSUM = "ab" * 32

    def test_a_clone_by_hand_that_is_adopted_loses_the_templates_line(self) -> None:
        cloned = {"smbios1": f"uuid={UUID}", "description": f"{template_mark(self.CHECKSUM)}\nmine"}
        assert template_checksum(cloned) == self.CHECKSUM
        assert (description_text(cloned), service_lines(cloned)) == ("mine", [])
        after = identity(cloned, UUID, None).applied_to(cloned)
        assert after["description"] == f"{mark(UUID)}\nmine"
        assert template_checksum(after) is None
        assert not identity(after, UUID, None)

    def test_no_template_is_a_server_and_no_server_a_template(self) -> None:
        built = {"smbios1": f"uuid={template_uuid(9100)}", "description": template_mark(self.CHECKSUM)}
        assert not is_ours(built, UUID)
        assert is_ours(built, template_uuid(9100))
        assert not is_ours(built, template_uuid(9101))
        assert not is_ours(
            {"description": f"{mark(UUID)}\n{template_mark(self.CHECKSUM)}"}, template_uuid(9100)
        )

    @pytest.mark.parametrize("text", [template_mark("ab" * 32), f"{template_mark('')}\nmore"])
    def test_a_users_text_like_the_line_stays(self, text: str) -> None:
        config = noted(text, [])
        assert (description_text(config), template_checksum(config)) == (text, None)
        assert not identity(config, UUID, text)
