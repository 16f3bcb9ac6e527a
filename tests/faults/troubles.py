"""What a request can meet, and what a job may then say: the closed table of the fault matrix."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.faults.cases import Scene

Meets = Callable[[Scene, int], bool]
"""Whether the request at a place of a scene's run can meet it."""

RETRYABLE = {
    "node_unavailable": True,
    "vm_locked": True,
    "run_timeout": True,
    "task_timeout": True,
    "node_unauthorized": False,
    "node_permission": False,
    "task_failed": False,
}
"""Whether trying again without doing anything else can help, by the code of a job's error."""


def any_request(scene: Scene, place: int) -> bool:
    """Every request."""
    return True


def changing(scene: Scene, place: int) -> bool:
    """Requests that change something: only they have an effect to come before or after."""
    return scene.requests[place].changes


def starting_a_task(scene: Scene, place: int) -> bool:
    """Requests whose task the run waits for."""
    return changing(scene, place) and scene.requests[place + 1 : place + 2] != () and _polls(scene, place + 1)


def slow_ones(scene: Scene, place: int) -> bool:
    """Two requests, for what takes half a minute each: a build's first read and its clone."""
    return scene.case.name == "build" and place in (0, 1)


def _polls(scene: Scene, place: int) -> bool:
    return "/tasks/UPID:" in scene.requests[place].path


@dataclass(frozen=True)
class Trouble:
    """Something that goes wrong.

    Attributes:
        fault: what the sandbox does, in the words of docs/sandbox.md.
        codes: what the job's error may be; the job may also succeed by itself.
        lasting: every later request meets it too, until it is lifted.
        passes: it is lifted after so many seconds, and not only when the job has ended.
        settings: of the worker.
    """

    name: str
    fault: Mapping[str, Any]
    codes: frozenset[str]
    meets: Meets = any_request
    lasting: bool = False
    passes: float | None = None
    settings: Mapping[str, str] = field(default_factory=dict)


LOCK = "can't lock file '/var/lock/qemu-server/lock-1000.conf' - got timeout"
NO_RIGHT = "Permission check failed (/vms/1000, VM.Config.Disk)"
AWAY = frozenset({"node_unavailable"})

TROUBLES = (
    Trouble("500, lock timeout", {"status": 500, "message": LOCK}, frozenset({"vm_locked"}), changing),
    Trouble("595", {"status": 595, "message": "No route to host"}, AWAY),
    Trouble("596, empty, before", {"status": 596, "empty": True}, AWAY),
    Trouble("596, empty, after", {"status": 596, "empty": True, "when": "after"}, AWAY, changing),
    Trouble("reset, before", {"reset": True}, AWAY),
    Trouble("reset, after", {"reset": True, "when": "after"}, AWAY, changing),
    Trouble(
        "401, until restored",
        {"status": 401, "empty": True},
        frozenset({"node_unauthorized"}),
        lasting=True,
    ),
    Trouble("403", {"status": 403, "message": NO_RIGHT}, frozenset({"node_permission"})),
    Trouble(
        "task fails late",
        {"task_fails": "command '/usr/bin/qemu-img' failed: exit code 1"},
        frozenset({"task_failed"}),
        starting_a_task,
    ),
    Trouble(
        "task never ends",
        {"task_hangs": True},
        frozenset({"run_timeout", "task_timeout"}),  # the first to give up is the one with less patience
        starting_a_task,
        settings={"JOTUNHEIM_JOB_TIMEOUT_SECONDS": "15", "JOTUNHEIM_BACKUP_TIMEOUT_SECONDS": "10"},
    ),
    Trouble("silence, before", {"silent": True}, AWAY),
    Trouble("silence, after", {"silent": True, "when": "after"}, AWAY, changing),
    Trouble(
        "30 s of silence",
        {"silent": True, "when": "after"},
        AWAY,
        slow_ones,
        settings={"JOTUNHEIM_PVE_READ_TIMEOUT_SECONDS": "30"},
    ),
    Trouble("node offline for a while", {"status": 595, "empty": True}, AWAY, lasting=True, passes=1.0),
)
