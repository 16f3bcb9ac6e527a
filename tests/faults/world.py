"""A service and a sandbox whose whole state can be kept and brought back within milliseconds.

A case does not build its server anew: the sandbox's state is loaded, and the database is written over through
SQLite's backup, while both go on running.
"""

import re
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.processes import Process, wait_for
from tests.support.sandbox import Sandbox
from tests.support.service import Service

FOREIGN_VMID = 150
SECONDS_FOR_A_JOB = 120.0  # a machine under load; nothing waits for it that goes well
SLOW_SECONDS = 8.0  # longer than a worker takes to start and to find the job
TASKS = (
    *("clone", "resize", "start", "stop", "shutdown", "reset", "destroy"),
    *("snapshot", "rollback", "move_disk", "remove_volume", "backup", "restore"),
)

SETTINGS = {
    # Long enough for a machine under load; a killed worker's lease is ended by hand.
    "JOTUNHEIM_LEASE_SECONDS": "20",
    "JOTUNHEIM_SWEEP_SECONDS": "0.1",
    # Other requests than the job's own would stand among the numbered ones.
    "JOTUNHEIM_SYNC_SECONDS": "86400",
    "JOTUNHEIM_ORPHAN_SCAN_SECONDS": "0",
    "JOTUNHEIM_VMID_FIRST": "1000",  # it stands in the tables
    "JOTUNHEIM_WORKER_CONCURRENCY": "1",
    "JOTUNHEIM_RETRY_BASE_SECONDS": "0",
    # Thirty seconds of silence, scaled down.
    "JOTUNHEIM_PVE_READ_TIMEOUT_SECONDS": "1.5",
}
"""What the service is told. Jobs are not repeated by themselves: what a failure leaves is to be seen."""

# What is another one each time that something is done.
_VOLATILE = re.compile(r"_at$|^(status_since|fence|attempt|max_attempts|lease_owner|progress|request_id)$")
_RECORDS_OF_THE_WAY = {
    "job_event",
    "job_run",
    "job_step",
    "node_usage",
    "traffic_history",
    "traffic_meter",
    "traffic_period",
    "pve_task",
    "stored_answer",
    "audit_entry",
    "sqlite_sequence",
    "token",
}


@dataclass(frozen=True)
class Moment:
    """The whole state at one time."""

    hypervisor: Mapping[str, Any]
    database: Path


@dataclass(frozen=True)
class Request:
    """One request of a run, as the sandbox logged it."""

    method: str
    path: str

    @property
    def changes(self) -> bool:
        """Whether it changes something."""
        return self.method != "GET"

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass
class World:
    """One hypervisor, one service with at most one worker, and the way back to earlier moments."""

    service: Service
    sandbox: Sandbox
    directory: Path
    worker: Process | None = None
    worker_settings: Mapping[str, str] = field(default_factory=dict)
    _logs_read: dict[str, int] = field(default_factory=dict)

    @classmethod
    @contextmanager
    def start(cls, directory: Path) -> Iterator["World"]:
        """Start both, with infrastructure and a VM of somebody else on the node.

        The sandbox takes no time: so a task has ended at its first poll, and a run sends the same requests each time.
        """
        (directory / "sandbox").mkdir()
        (directory / "moments").mkdir()
        with (
            Sandbox.start(directory / "sandbox", time_scale=0) as sandbox,
            Service.start(directory / "state", worker=False, settings=SETTINGS) as service,
        ):
            service.add_infrastructure(sandbox)
            vm = {"vmid": FOREIGN_VMID, "name": "foreign", "scsi0": "vmstore:1", "ide2": "vmstore:cloudinit"}
            _post(sandbox, "/nodes/pve1/qemu", **vm)
            _post(sandbox, f"/nodes/pve1/qemu/{FOREIGN_VMID}/firewall/rules", action="ACCEPT", type="in")
            yield cls(service, sandbox, directory)

    # --- moments

    def keep(self, name: str) -> Moment:
        """The present moment. Nothing may be going on."""
        file = self.directory / "moments" / f"{name}.db"
        with closing(self._database()) as live, closing(sqlite3.connect(file)) as copy:
            live.backup(copy)
        return Moment(self.sandbox.control.get("/state").raise_for_status().json(), file)

    def bring_back(self, moment: Moment) -> None:
        """Go on from an earlier moment; the next request has the number 1."""
        self.lift_faults()
        self.sandbox.control.put("/state", json=moment.hypervisor).raise_for_status()
        self.sandbox.control.delete("/requests").raise_for_status()
        with closing(sqlite3.connect(moment.database)) as copy, closing(self._database()) as live:
            copy.backup(live)

    def picture(self, start: Moment, *, without_job: str | None = None) -> dict[str, Any]:
        """What is so now, on the node and in the records, without what differs between any two runs.

        Args:
            start: when the job was asked for. VMs that were made since have MAC addresses of their own.
            without_job: the id of a job that failed, and in whose place another one was asked for.
        """
        now = self.sandbox.control.get("/state").raise_for_status().json()
        return {
            "clones": len(_clones(now)) - len(_clones(start.hypervisor)),
            "vms": {
                vmid: _plain_vm(vm, known=vmid in start.hypervisor["vms"]) for vmid, vm in now["vms"].items()
            },
            "volumes": _volumes(now["volumes"]),
            "firewalls": now["firewalls"],
            "pools": now["pools"],
            "records": self._records(without_job),
        }

    def _records(self, without_job: str | None) -> dict[str, list[Any]]:
        with closing(self._database()) as raw:
            if without_job:
                raw.execute("DELETE FROM job WHERE id = ?", (_stored(without_job),))  # never committed
            names = [
                name
                for (name,) in raw.execute(
                    "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
                )
            ]
            return {name: _rows(raw, name) for name in names if name not in _RECORDS_OF_THE_WAY}

    # --- jobs

    def job_status(self, job_id: str) -> str:
        """The status of a job, read from the store: the API has other things to do."""
        with closing(self._database()) as raw:
            row = raw.execute("SELECT status FROM job WHERE id = ?", (_stored(job_id),)).fetchone()
        assert row is not None, job_id
        return str(row[0])

    def is_over(self, job_id: str) -> bool:
        """Whether a job has ended, well or not."""
        return self.job_status(job_id) in ("succeeded", "failed", "cancelled")

    def finished(self, job_id: str) -> dict[str, Any]:
        """A job, once it is over."""
        wait_for(lambda: self.is_over(job_id), f"job {job_id}", seconds=SECONDS_FOR_A_JOB)
        found: dict[str, Any] = self.service.read(f"jobs/{job_id}")["job"]
        return found

    def tasks_noted(self) -> int:
        """How many tasks of the node all jobs have noted."""
        with closing(self._database()) as raw:
            return int(raw.execute("SELECT count(*) FROM pve_task").fetchone()[0])

    # --- workers

    def work(self, **settings: str) -> None:
        """See to it that a worker with these settings runs."""
        if self.worker is not None and self.worker_settings != settings:
            self.kill_worker()
        if self.worker is None:
            self.worker = self.service.start_worker(**settings)
            self.worker_settings = settings

    def rest(self) -> None:
        """See to it that no worker runs."""
        if self.worker is not None:
            self.kill_worker()

    def kill_worker(self) -> None:
        """Kill the worker with -9; whatever it was at stops there."""
        assert self.worker is not None
        self.service.kill_worker(self.worker)
        self.worker = None

    def end_leases(self) -> None:
        """Let the time pass that a silent worker keeps its jobs."""
        with closing(self._database()) as raw, raw:
            raw.execute("UPDATE job SET lease_expires_at = 0 WHERE status = 'running'")

    # --- faults

    def arm(self, **fault: Any) -> None:
        """Arm a fault of docs/sandbox.md."""
        self.sandbox.control.post("/faults", json=fault).raise_for_status()

    @contextmanager
    def slow_node(self) -> Iterator[None]:
        """Operations that begin within take some seconds."""
        settings = self.sandbox.control.get("/settings").json()
        slow = {name: SLOW_SECONDS for name in settings["durations"] if name in TASKS}
        self.sandbox.control.patch("/settings", json={"time_scale": 1, "durations": slow}).raise_for_status()
        try:
            yield
        finally:
            self.sandbox.control.patch("/settings", json={"time_scale": 0}).raise_for_status()

    def runs_a_task(self) -> bool:
        """Whether the node is at a task."""
        return int(self.sandbox.control.get("/settings").json()["running_tasks"]) > 0

    def faults(self) -> list[dict[str, Any]]:
        """The armed faults."""
        found: list[dict[str, Any]] = self.sandbox.control.get("/faults").json()
        return found

    def lift_faults(self) -> None:
        """Disarm all faults."""
        self.sandbox.control.delete("/faults").raise_for_status()

    def stop_tasks(self) -> None:
        """Stop tasks that would never end, as a person would."""
        if self.runs_a_task():
            for task in self.sandbox.get("/nodes/pve1/tasks", source="active"):
                if "endtime" not in task:
                    self.sandbox.api.delete(f"/nodes/pve1/tasks/{task['upid']}").raise_for_status()
            self.settle()

    def settle(self) -> None:
        """Wait for the end of all tasks of the node."""
        wait_for(lambda: not self.runs_a_task(), "the node's tasks")

    def requests(self) -> list[Request]:
        """The requests since the moment was brought back, with the service's own user agent."""
        return [
            Request(entry["method"], _plain_path(entry["path"]))
            for entry in self.sandbox.request_log()
            if str(entry["user_agent"]).startswith("jotunheim/")
        ]

    # --- what must never be

    def troubles(self) -> list[str]:
        """What was said in the logs since the last call, and what runs left behind, that must not be."""
        found = [f"a traceback in {name}" for name in ("worker.log", "serve.log") if self._broke(name)]
        for directory in (self.service.state / "runs").glob("*"):
            found.append(f"a run directory was left: {directory.name}")
            # A worker may be removing it this moment; that it was left is noted.
            shutil.rmtree(directory, ignore_errors=True)
        return found

    def _broke(self, name: str) -> bool:
        with (self.service.state / name).open("rb") as log:
            log.seek(self._logs_read.get(name, 0))
            said = log.read()
            self._logs_read[name] = log.tell()
        return b"Traceback" in said

    def _database(self) -> sqlite3.Connection:
        return sqlite3.connect(self.service.state / "jotunheim.db", timeout=30)


def _post(sandbox: Sandbox, path: str, **parameters: Any) -> None:
    answer = sandbox.api.post(path, data=parameters)
    assert answer.is_success, answer.text


def differences(wanted: Any, found: Any, where: str = "") -> list[str]:
    """Where two pictures differ, one line each."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        return [
            line
            for key in sorted(wanted.keys() | found.keys(), key=str)
            for line in differences(wanted.get(key), found.get(key), f"{where}/{key}")
        ]
    if isinstance(wanted, list) and isinstance(found, list):
        missing = [f"{where}: {item!r} is missing" for item in wanted if item not in found]
        return missing + [f"{where}: {item!r} is too much" for item in found if item not in wanted]
    return [] if wanted == found else [f"{where}: {found!r} instead of {wanted!r}"]


def _volumes(volumes: list[dict[str, Any]]) -> dict[str, Any]:
    """Volumes by their names; the names of backups, which tell when they were made, are numbered instead."""
    found: dict[str, Any] = {}
    for volume in volumes:
        plain = {k: v for k, v in volume.items() if k not in ("ctime", "volid")}
        if plain.get("backup"):
            plain["backup"] = {k: v for k, v in plain["backup"].items() if k != "created"}
        name = _undated(volume["volid"])
        same = sum(other.startswith(name) for other in found)
        found[f"{name} {same + 1}" if same else name] = plain
    return found


def _clones(state: Mapping[str, Any]) -> list[Any]:
    return [task for task in state["tasks"] if task["type"] == "qmclone"]


def _plain_vm(vm: Mapping[str, Any], *, known: bool) -> dict[str, Any]:
    run = vm["run"]
    return {
        "config": _plain_config(vm["config"], known),
        "pending": _plain_config(vm["pending"], known),
        "pending_delete": vm["pending_delete"],
        "cloudinit": _plain_config(vm["cloudinit"], known),
        "snapshots": {
            name: {
                **{k: v for k, v in snapshot.items() if k not in ("created", "config")},
                "config": _plain_config(snapshot["config"], known),
            }
            for name, snapshot in vm["snapshots"].items()
        },
        "run": run
        and {
            "paused": run["paused"],
            "config": _plain_config(run["config"], known),
            "passwords": sorted(run["passwords"]),
        },
    }


def _plain_config(config: Mapping[str, str], known: bool) -> dict[str, str]:
    plain: dict[str, str] = {}
    for key, value in config.items():
        match key:
            case "vmgenid" | "cipassword" | "snaptime":
                plain[key] = "(another each time)"
            case "meta":
                plain[key] = re.sub(r"ctime=\d+", "ctime=", value)
            case _ if key.startswith("net") and not known:
                plain[key] = re.sub(r"([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}", "MAC", value)
            case _:
                plain[key] = value
    return plain


def _rows(raw: sqlite3.Connection, table: str) -> list[Any]:
    cursor = raw.execute(f'SELECT * FROM "{table}"')
    columns = [column[0] for column in cursor.description]
    kept = [index for index, column in enumerate(columns) if _is_kept(table, column)]
    return sorted(_undated(repr({columns[index]: row[index] for index in kept})) for row in cursor)


def _is_kept(table: str, column: str) -> bool:
    if table == "secret":
        return column == "name"
    if table == "job" and column == "id":
        return False
    return not _VOLATILE.search(column)


def _stored(id_: str) -> str:
    return id_.replace("-", "")


def _undated(text: str) -> str:
    """A text without the times in the names of backups."""
    return re.sub(r"vzdump-qemu-(\d+)-[\d_-]+", r"vzdump-qemu-\1-…", text)


def _plain_path(path: str) -> str:
    path = _undated(path)
    return re.sub(r"UPID:([^:]+):[^:]+:[^:]+:[^:]+:([^:]+):([^:]*):[^/]*", r"UPID:\1:…:\2:\3", path)
