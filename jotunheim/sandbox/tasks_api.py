"""Tasks through the API: list, status, log, stop."""

import re
from typing import Any
from urllib.parse import unquote

from jotunheim.sandbox.call import Answer, Call, Routes
from jotunheim.sandbox.errors import bad_params, forbidden
from jotunheim.sandbox.state import Task

routes = Routes()

UPID = re.compile(
    r"UPID:[a-zA-Z0-9-]+:[0-9A-Fa-f]{8}:[0-9A-Fa-f]{8,9}:[0-9A-Fa-f]{8}:[^:\s]+:[^:\s]*:[^:\s]+:"
)

NOT_ENDED = 1 << 62
CLUSTER_TASKS = 25
"""How many tasks the cluster's list has."""


def _find(call: Call) -> Task | None:
    upid = str(call.params["upid"])
    if not UPID.fullmatch(unquote(upid)):
        raise bad_params(upid="unable to parse worker upid")
    task = call.world.tasks.find(upid)
    if task and not _visible(call, task):
        raise forbidden(f"/nodes/{task.node}, Sys.Audit")
    return task


def _visible(call: Call, task: Task, privilege: str = "Sys.Audit") -> bool:
    own = task.user == call.auth.user and (call.auth.token is None or task.tokenid == call.auth.token)
    return own or call.may(f"/nodes/{task.node}", privilege)


def _described(task: Task) -> dict[str, Any]:
    data: dict[str, Any] = {
        "id": task.id,
        "node": task.node,
        "pid": task.pid,
        "pstart": task.pstart,
        "starttime": task.starttime,
        "type": task.type,
        "upid": task.upid,
        "user": task.user,
    }
    if task.tokenid:
        data["tokenid"] = task.tokenid
    return data


def _listed(task: Task) -> dict[str, Any]:
    data = _described(task)
    if task.endtime is None:
        return data | {"status": "RUNNING"}
    return data | {"endtime": task.endtime, "status": task.exitstatus}


@routes("GET", "/nodes/{node}/tasks/{upid}/status")
async def status(call: Call) -> dict[str, Any]:
    """Whether a task runs, and how it ended."""
    task = _find(call)
    if task is None:
        raise bad_params(upid="no such task")
    data = _described(task)
    data["status"] = "running" if task.endtime is None else "stopped"
    if task.endtime is not None:
        data["exitstatus"] = task.exitstatus
    return data


@routes("GET", "/nodes/{node}/tasks/{upid}/log")
async def task_log(call: Call) -> Answer:
    """A part of a task's log."""
    task = _find(call)
    if task is None:
        return Answer({"n": 1, "t": "unable to open file - No such file or directory"}, {"total": 1})
    start, limit = int(call.get("start", 0)), int(call.get("limit", 50))
    lines = task.log[start:] if limit == 0 else task.log[start : start + limit]
    listed = [{"n": number, "t": line} for number, line in enumerate(lines, start + 1)]
    if not task.log:
        listed = [{"n": 1, "t": "no content"}]
    return Answer(listed, {"total": max(len(task.log), 1)})


@routes("DELETE", "/nodes/{node}/tasks/{upid}")
async def stop(call: Call) -> None:
    """Interrupt a task."""
    task = _find(call)
    if task is None:
        raise bad_params(upid="no such task")
    if not _visible(call, task, "Sys.Modify"):
        raise forbidden(f"/nodes/{task.node}, Sys.Modify")
    call.world.tasks.stop(task)


@routes("GET", "/nodes/{node}/tasks/{upid}")
async def task_index(_call: Call) -> list[dict[str, str]]:
    """The folders below a task."""
    return [{"name": "log"}, {"name": "status"}]


@routes("GET", "/nodes/{node}/tasks")
async def list_tasks(call: Call) -> Answer:
    """Tasks: the running ones, then those that ended last."""
    chosen = [task for task in reversed(call.world.tasks.archive.values()) if _matches(call, task)]
    chosen.sort(key=lambda task: task.endtime or NOT_ENDED, reverse=True)
    start, limit = int(call.get("start", 0)), int(call.get("limit", 50))
    listed = [_listed(task) for task in (chosen[start : start + limit] if limit else chosen[start:])]
    return Answer(listed, {"total": len(chosen)})


def _matches(call: Call, task: Task) -> bool:
    params, source = call.params, call.get("source", "archive")
    ended = task.endtime is not None
    failed = ended and task.exitstatus != "OK" and not str(task.exitstatus).startswith("WARNINGS")
    wanted = params.get("vmid")
    statuses = set(str(params.get("statusfilter", "")).replace(",", " ").replace(";", " ").split())
    kind = "unknown" if not ended else "ok" if not failed else "error"
    return (
        task.node == call.node
        and _visible(call, task)
        and (source == "all" or ended == (source == "archive"))
        and (wanted is None or task.id == str(wanted))
        and ("typefilter" not in params or task.type == params["typefilter"])
        and ("userfilter" not in params or str(params["userfilter"]).lower() in _owner(task).lower())
        and (not params.get("errors") or failed)
        and (not statuses or kind in statuses)
        and task.starttime >= int(params.get("since", 0))
        and ("until" not in params or task.starttime <= int(params["until"]))
    )


def _owner(task: Task) -> str:
    return f"{task.user}!{task.tokenid}" if task.tokenid else task.user


@routes("GET", "/cluster/tasks")
async def cluster_tasks(call: Call) -> list[dict[str, Any]]:
    """The latest tasks of all nodes."""
    latest = [task for task in reversed(call.world.tasks.archive.values()) if _visible(call, task)]
    return [_listed(task) for task in latest[:CLUSTER_TASKS]]
