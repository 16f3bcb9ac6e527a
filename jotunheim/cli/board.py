"""Shows jobs while they run: the steps of one, or one line each of several."""

from dataclasses import dataclass, field

from jotunheim.cli.checklist import Checklist, Item
from jotunheim.cli.client import Api
from jotunheim.cli.output import Document, local_time, moment, print_json


@dataclass
class _Shown:
    """What is on the screen of one job."""

    title: Item
    first_event_at: str | None = None
    step: Item | None = None
    steps_begun: dict[str, str] = field(default_factory=dict)
    """When each step began, as the service says."""


class JobBoard:
    """Puts the events of jobs into a checklist.

    Args:
        titles: what to call each job, by its id.
        depth: how far to indent.
    """

    def __init__(self, api: Api, checklist: Checklist, titles: dict[str, str], depth: int = 0) -> None:
        self._api = api
        self._checklist = checklist
        self._depth = depth
        self._shows_steps = len(titles) == 1
        self._jobs = {job_id: _Shown(checklist.begin(title, depth)) for job_id, title in titles.items()}

    def on_event(self, job_id: str, event: Document) -> None:
        """Show one event."""
        shown = self._jobs[job_id]
        shown.first_event_at = shown.first_event_at or event["at"]
        data = event["data"]
        match event["type"]:
            case "job.started" if data["attempt"] > 1:
                self._end_step(shown, "lost", "its worker was lost")
                shown.title.note = f"attempt {data['attempt']}"
            case "job.put_off":
                self._end_step(shown, "failed", data["error"]["message"])
                shown.title.note = f"tried again at {local_time(data['until'])}"
            case "job.cancelling":
                shown.title.note = "being cancelled"
            case "step.started":
                shown.steps_begun[data["name"]] = event["at"]
                if self._shows_steps:
                    shown.step = self._checklist.begin(data["name"], self._depth + 1)
                else:
                    shown.title.note = data["name"]
            case "step.finished":
                self._step_finished(job_id, shown, event)
            case "job.finished":
                error = data["error"]
                self._end_step(shown, "failed", "")
                cancelled = data["status"] == "cancelled"
                self._checklist.end(
                    shown.title,
                    "failed" if error else "skipped" if cancelled else "ok",
                    error["message"] if error else "cancelled" if cancelled else "done",
                    _between(shown.first_event_at, event["at"]),
                )

    def _step_finished(self, job_id: str, shown: _Shown, event: Document) -> None:
        data = event["data"]
        begun = shown.steps_begun.pop(data["name"], event["at"])
        if shown.step:
            note = "changed" if data["changed"] else ""
            self._checklist.end(shown.step, data["status"], note, _between(begun, event["at"]))
            shown.step = None
        progress = self._api.get(f"/jobs/{job_id}")["job"]["progress"]
        shown.title.note = f"{progress} %" if self._shows_steps else f"{progress} %, {data['name']}"

    def _end_step(self, shown: _Shown, status: str, note: str) -> None:
        if shown.step:
            self._checklist.end(shown.step, status, note)
            shown.step = None


def _between(begin: str, end: str) -> float:
    return (moment(end) - moment(begin)).total_seconds()


class EventPrinter:
    """Prints every event as a line of JSON."""

    def on_event(self, job_id: str, event: Document) -> None:
        """Print one event; it names its job itself."""
        del job_id
        print_json(event)


class Silence:
    """Shows nothing, for commands that print one document at their end."""

    def on_event(self, job_id: str, event: Document) -> None:
        """Nothing."""
        del job_id, event
