"""Rebuilds that go wrong: whatever a request meets, no disk of a server is lost, and a second run ends it."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from jotunheim.exceptions.repository import (
    ProxmoxRequestError,
    ProxmoxTaskFailedError,
    ProxmoxUnauthorizedError,
    ProxmoxUnavailableError,
)
from tests.playbooks.pve_playbooks import Playbooks
from tests.playbooks.pve_plugins import MARK, Journal, Trouble
from tests.playbooks.pve_rebuilds import Scene
from tests.playbooks.test_rebuild import WANTED, config, swap, whole

from ansible_collections.jotunheim.pve.plugins.plugin_utils import rebuild  # isort: skip

GIB = 1024**3
SIZED = replace(WANTED, disk_bytes=3 * GIB)
CONFIG = {"method": "PUT", "path": "/1101/config$"}
MOVE = {"method": "POST", "path": "/move_disk$"}
REFUSED = {"status": 500, "message": "oops"}

LOST = {
    "cut before, journal": ({"reset": True}, True),
    "596 after, journal": ({"status": 596, "message": "Broken pipe", "when": "after"}, True),
    "595 before, by hand": ({"status": 595, "message": "No route to host", "empty": True}, False),
    "cut after, by hand": ({"reset": True, "when": "after"}, False),
}
SLOW = {"stop": 2.5, "move_disk": 2.5}  # so that the second run meets the first one's tasks
USUAL = {"stop": 0.6, "move_disk": 0.4}


@pytest.fixture
def slow(scene: Scene) -> Iterator[Scene]:
    """The scene on a slow node."""
    scene.sandbox.control("PATCH", "/settings", durations=SLOW)
    yield scene
    scene.sandbox.control("PATCH", "/settings", durations=USUAL)


def troubles(scene: Scene, fault: dict[str, Any], journaled: bool, wanted: rebuild.Rebuild) -> Iterator[str]:
    """Let a fault strike each changing request of a rebuild, check what is left, and repeat the rebuild."""
    initial = scene.sandbox.state()
    for number in range(1, 100):
        journal = Journal() if journaled else None
        trouble = Trouble(number, sandbox=scene.sandbox, fault=fault)
        try:
            whole(scene.plugins.vm(journal, trouble), wanted)
        except ProxmoxRequestError:
            scene.assert_nothing_lost(trouble.seen[-1])
            whole(scene.plugins.vm(journal), wanted)
        struck = len(trouble.seen) >= number
        scene.plugins.settle()
        if struck:
            assert [fault["struck"] for fault in scene.sandbox.control("GET", "/faults")] == [1]
            scene.sandbox.control("DELETE", "/faults")
            yield trouble.seen[number - 1]
        scene.sandbox.control("PUT", "/state", **initial)
        if not struck:
            return


@pytest.mark.parametrize(("fault", "journaled"), LOST.values(), ids=LOST.keys())
def test_a_lost_answer_to_any_request_loses_nothing(
    slow: Scene, fault: dict[str, Any], journaled: bool
) -> None:
    moments = []
    for moment in troubles(slow, fault, journaled, SIZED):
        moments.append(moment)
        assert config(slow.sandbox)["scsi0"].endswith("size=3G"), moment
        slow.assert_done(moment)
    assert len(moments) >= 10


def fails(scene: Scene, wanted: rebuild.Rebuild = WANTED, **kinds: Any) -> ProxmoxRequestError:
    with pytest.raises(ProxmoxRequestError) as caught:
        swap(scene.plugins.vm(**kinds), wanted)
    return caught.value


def test_a_failing_last_write_puts_the_old_disk_back_and_removes_the_new_one(scene: Scene) -> None:
    scene.sandbox.fault(**CONFIG, **REFUSED, skip=1)
    error = fails(scene)
    assert "The old disk is in place, and the server was started again." in error.message
    scene.assert_old()
    whole(scene.plugins.vm())
    scene.assert_done()


def test_a_move_that_fails_after_the_disk_has_moved_leaves_no_disk_behind(scene: Scene) -> None:
    scene.sandbox.fault(**MOVE, task_fails="interrupted by signal")
    error = fails(scene)
    assert isinstance(error, ProxmoxTaskFailedError)
    scene.assert_old()
    whole(scene.plugins.vm())
    scene.assert_done()


def test_a_new_disk_that_cannot_be_removed_is_named_and_goes_with_the_next_rebuild(scene: Scene) -> None:
    scene.sandbox.fault(**MOVE, task_fails="interrupted by signal")
    scene.sandbox.fault(**CONFIG, **REFUSED, skip=2)
    error = fails(scene)
    now = config(scene.sandbox)
    (new,) = [now[key] for key in now.keys() - scene.before.keys()]
    assert f"The new disk {new} is still there" in error.message
    assert now["scsi0"] == scene.before["scsi0"]
    assert now["description"] == f"{MARK}\njotunheim:discarded={new}\nnotes"
    scene.assert_nothing_lost("")
    whole(scene.plugins.vm())
    scene.assert_done()


def test_a_new_disk_that_nobody_got_is_told(scene: Scene) -> None:
    """PVE takes the disk off one VM before it gives it to the other one, and may fail in between."""

    class HalfMove(Trouble):
        def strike(self) -> bool:
            if self.seen[-1].endswith("/move_disk"):
                scene.sandbox.change(1901, config={"scsi0": None})
                scene.sandbox.fault(**MOVE, **REFUSED)
            return False

    error = fails(scene, death=HalfMove())
    assert "`qm disk rescan --vmid 1101`" in error.message
    scene.assert_old()
    whole(scene.plugins.vm())
    scene.assert_done()


def test_a_failing_way_back_says_so_and_a_second_run_ends_it(scene: Scene) -> None:
    scene.sandbox.fault(**MOVE, **REFUSED)
    scene.sandbox.fault(**CONFIG, **REFUSED, skip=1)
    error = fails(scene)
    assert "The way back failed, too: " in error.message
    assert "The old disk still exists." in error.message
    assert "repeat the rebuild" in str(error.hint)
    scene.assert_nothing_lost("")
    whole(scene.plugins.vm())
    scene.assert_done()


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("number", "path"), [(6, "/1101/config"), (7, "/1101/status/start"), (8, "/1101/config")]
)
def test_a_lost_answer_on_the_way_back_loses_nothing(scene: Scene, number: int, path: str, when: str) -> None:
    scene.sandbox.fault(**MOVE, task_fails="interrupted by signal")
    trouble = Trouble(number, sandbox=scene.sandbox, fault={"reset": True, "when": when})
    error = fails(scene, death=trouble)
    assert isinstance(error, ProxmoxTaskFailedError)
    assert trouble.seen[number - 1].endswith(path)
    scene.assert_nothing_lost("")
    whole(scene.plugins.vm())
    scene.assert_done()


def test_a_second_attempt_that_fails_starts_a_server_that_ran_before_the_first(scene: Scene) -> None:
    scene.sandbox.fault(**MOVE, reset=True)
    error = fails(scene)
    assert isinstance(error, ProxmoxUnavailableError)
    assert "How far the swap came is not known. The old disk still exists." in error.message
    assert scene.sandbox.vm(1101)["status"] == "stopped"
    scene.sandbox.fault(**MOVE, **REFUSED)
    fails(scene)
    scene.assert_old()


def test_also_when_the_first_died_before_it_could_note_that(scene: Scene) -> None:
    """Only the journal knows who stopped the server then."""
    journal, stop = Journal(), Trouble(4, sandbox=scene.sandbox, fault={"reset": True})
    fails(scene, journal=journal, death=stop)
    assert stop.seen[-1] == "PUT nodes/pve1/qemu/1101/config"
    assert scene.sandbox.vm(1101)["status"] == "stopped"
    scene.sandbox.fault(**MOVE, **REFUSED)
    fails(scene, journal=journal)
    scene.assert_old()


def test_somebody_elses_disk_in_the_new_ones_place_is_kept(scene: Scene) -> None:
    """The admin helps out after a failure, and attaches another disk of the customer."""
    scene.sandbox.fault(**MOVE, reset=True)
    fails(scene)
    scene.plugins.run("PUT", "nodes/pve1/qemu/1101/config", scsi0=scene.kept["unused0"])
    error = fails(scene)
    assert "already in use" in error.message
    now = config(scene.sandbox)
    assert now["scsi0"] == scene.before["scsi0"]
    assert scene.kept["unused0"] in {now.get("unused0"), now.get("unused1")}
    assert scene.kept["unused0"] in scene.plugins.volumes()
    whole(scene.plugins.vm())
    assert scene.kept["unused0"] in scene.plugins.volumes()


@pytest.mark.parametrize("number", range(1, 10))
def test_a_token_that_is_revoked_in_the_middle_is_named_and_nothing_is_lost(
    scene: Scene, number: int
) -> None:
    """Every request from some moment on is refused."""

    class Revoked(Trouble):
        def strike(self) -> bool:
            if len(self.seen) == number:
                scene.sandbox.fault(
                    path=".", status=401, message="authentication failure", empty=True, count=None
                )
            return False

    with pytest.raises(ProxmoxUnauthorizedError) as caught:
        whole(scene.plugins.vm(death=Revoked()))
    assert "token" in str(caught.value.hint)
    scene.sandbox.control("DELETE", "/faults")
    scene.assert_nothing_lost(str(number))
    whole(scene.plugins.vm())
    scene.assert_done()


def test_the_playbook_says_what_a_failure_came_to(scene: Scene, playbooks: Playbooks) -> None:
    server = {name: v for name, v in playbooks.server().items() if not name.startswith("pve_config_")}
    server |= {"pve_rebuild_template_vmid": 9000, "pve_rebuild_scratch_vmid": 1901, "pve_rebuild_id": "job-1"}
    inventory = playbooks.inventory(web_1=server)
    scene.sandbox.fault(**MOVE, task_fails="interrupted by signal")
    run = playbooks.run("server_rebuild.yml", inventory)
    assert (run.code, run.error["code"]) == (2, "task_failed")
    assert run.error["message"].startswith("interrupted by signal")
    assert run.error["message"].endswith("The old disk is in place, and the server was started again.")
    scene.assert_old()
    run = playbooks.run("server_rebuild.yml", inventory)
    assert run.code == 0, run.output
    scene.assert_done(smbios1=config(scene.sandbox)["smbios1"])
