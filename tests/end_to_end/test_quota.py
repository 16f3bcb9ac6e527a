"""Traffic is counted whatever becomes of the VM's process, and what follows when it is used up comes about and ends."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Run, remote
from tests.cli.conftest import run as run  # a fixture
from tests.support.processes import wait_for
from tests.support.sandbox import Sandbox
from tests.support.service import Service

GB = 10**9


@pytest.fixture(scope="module")
def service(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service of this module's own; its node is asked when a test says so."""
    with Service.start(tmp_path_factory.mktemp("quota")) as started:
        started.add_infrastructure(sandbox)
        yield started


class Metered:
    """A server whose traffic a test decides about."""

    def __init__(self, service: Service, sandbox: Sandbox, name: str, **limits: Any) -> None:
        self.service, self.sandbox = service, sandbox
        self.id = service.built(f"quota-{name}", limits=limits)["id"]
        self.move(0)

    @property
    def shown(self) -> dict[str, Any]:
        """The server as the API shows it."""
        return self.service.server(self.id)

    @property
    def usage(self) -> dict[str, Any]:
        """Its traffic of this month."""
        found: dict[str, Any] = self.service.read(f"servers/{self.id}/usage")["usage"]
        return found

    @property
    def in_gb(self) -> int:
        """What it has received, less what a process has counted by itself before a test set it."""
        return int(self.usage["in_bytes"] // GB)

    @property
    def pid(self) -> int | None:
        """Of the VM's process; None: it does not run."""
        path = f"/nodes/pve1/qemu/{self.shown['vmid']}/status/current"
        found: int | None = self.sandbox.get(path).get("pid")
        return found

    @property
    def rate(self) -> str | None:
        """The rate of its network device, in Proxmox VE's words."""
        options = self.sandbox.config(self.shown["vmid"])["net0"].split(",")
        return next((option.partition("=")[2] for option in options if option.startswith("rate=")), None)

    @property
    def is_running(self) -> bool:
        """Whether its VM runs, as the hypervisor says."""
        return self.pid is not None

    def move(self, netin: int, netout: int = 0) -> None:
        """Let the VM's process have counted so much."""
        counters = {"netin": netin, "netout": netout}
        path = f"/vms/{self.shown['vmid']}"
        self.sandbox.control.patch(path, json={"counters": counters}).raise_for_status()

    def count(self, netin: int, netout: int = 0) -> None:
        """Let the VM's process have counted so much, and the node be asked."""
        self.move(netin, netout)
        self.service.done(f"nodes/{self.service.ids['node']}/sync")

    def settled(self) -> None:
        """Wait until no job has it, and quota wants nothing more of it."""
        wait_for(lambda: self.shown["job_id"] is None, f"server {self.id} to be free", seconds=60)

    def told(self) -> list[str]:
        """What quota has recorded of it, the oldest first."""
        return told(self.service, self.id)


def told(service: Service, server_id: str) -> list[str]:
    """What quota has recorded of a server, the oldest first."""
    found = service.read(f"audit?resource_type=server&resource_id={server_id}&limit=200")
    said = [entry for entry in found["audit_entries"] if entry["action"].startswith("quota.")]
    return [entry["action"] for entry in sorted(said, key=lambda entry: entry["id"])]


def test_traffic_is_counted_through_restarts_and_a_rebuild(service: Service, sandbox: Sandbox) -> None:
    server = Metered(service, sandbox, "counted")
    assert server.usage["limit_bytes"] is None
    server.count(5 * GB, 2 * GB)
    assert (server.usage["in_bytes"], server.usage["out_bytes"]) == (5 * GB, 2 * GB)
    server.count(6 * GB, 2 * GB)
    assert server.usage["in_bytes"] == 6 * GB
    server.move(8 * GB, 2 * GB)  # of which only the job that ends the process can tell
    service.done(f"servers/{server.id}/power", {"action": "reboot"})
    server.count(1 * GB)
    assert server.in_gb == 9
    server.move(2 * GB)
    service.done(f"servers/{server.id}/rebuild", {"template_id": service.ids["template"]})
    server.count(9 * GB)  # more than before, of another process
    assert server.in_gb == 19
    before = server.pid
    sandbox.do("POST", f"/nodes/pve1/qemu/{server.shown['vmid']}/status/reboot")
    wait_for(lambda: server.pid not in (None, before), "the reboot that nobody told us of", seconds=60)
    server.count(3 * GB)
    assert server.in_gb == 22
    answer = service.read(f"servers/{server.id}/usage?resolution_seconds=86400")
    assert sum(point["in_bytes"] for point in answer["history"]) // GB == 22
    server.move(4 * GB)
    service.done(f"servers/{server.id}", method="DELETE")
    listed = service.read(f"usage?server_id={server.id}")["usage"]
    assert [(row["server_name"], row["in_bytes"] // GB) for row in listed] == [("quota-counted", 23)]


POLICY = [
    {"percent": 50, "action": "notify"},
    {"percent": 80, "action": "throttle", "rate_bytes_per_second": 5 * 2**20},
    {"percent": 100, "action": "suspend"},
]


def end_month(service: Service, server: Metered) -> None:
    """Let what was counted of a server, and what it has passed, be of a month that is over."""
    with closing(sqlite3.connect(service.state / "jotunheim.db", timeout=30)) as raw, raw:
        for table in ("traffic_period", "traffic_threshold"):
            id_ = server.id.replace("-", "")
            raw.execute(f"UPDATE {table} SET period = '2020-01' WHERE server_id = ?", (id_,))


def test_thresholds_are_told_of_then_throttle_then_suspend_until_the_month_ends(
    service: Service, sandbox: Sandbox
) -> None:
    server = Metered(service, sandbox, "passes", traffic_bytes=10 * GB, traffic_policy=POLICY)
    server.count(3 * GB, GB)
    assert server.told() == []
    server.count(4 * GB, GB)
    assert server.told() == ["quota.warned"]
    assert [bool(each["passed_at"]) for each in server.usage["thresholds"]] == [True, False, False]
    server.count(7 * GB, GB)
    wait_for(lambda: server.rate == "5", "the throttle", seconds=60)
    server.settled()
    assert (server.is_running, server.told()) == (True, ["quota.warned", "quota.exceeded"])
    assert server.usage["throttle_bytes_per_second"] == 5 * 2**20
    service.done(f"servers/{server.id}/rebuild", {"template_id": service.ids["template"]})
    service.done(f"servers/{server.id}/configure", {})
    assert server.rate == "5"
    server.count(2 * GB, GB)
    wait_for(lambda: server.shown["suspended"], "the suspension", seconds=60)
    server.settled()
    assert not server.is_running
    assert "100 %" in server.shown["suspended"]["reason"]
    assert server.usage["suspended"]
    end_month(service, server)
    wait_for(lambda: server.shown["suspended"] is None, "the end of the suspension", seconds=60)
    wait_for(lambda: server.rate is None, "the end of the throttle", seconds=60)
    server.settled()
    assert server.is_running
    assert server.told() == ["quota.warned", "quota.exceeded", "quota.exceeded", "quota.reset"]
    assert server.usage["counted_bytes"] < GB


def test_a_persons_suspension_is_not_lifted_by_more_traffic(service: Service, sandbox: Sandbox) -> None:
    policy = [{"percent": 100, "action": "suspend"}]
    server = Metered(service, sandbox, "person", traffic_bytes=10 * GB, traffic_policy=policy)
    server.count(11 * GB)
    wait_for(lambda: server.shown["suspended"], "the suspension", seconds=60)
    server.settled()
    service.done(f"servers/{server.id}/suspend", {"reason": "abuse"})
    assert not server.usage["suspended"]
    service.ask(f"servers/{server.id}", {"limits": {"traffic_bytes": None}}, "PATCH")
    wait_for(lambda: server.told() == ["quota.exceeded", "quota.reset"], "the end of quota", seconds=60)
    server.settled()
    assert server.shown["suspended"]["reason"] == "abuse"
    service.done(f"servers/{server.id}/unsuspend")
    assert server.is_running


def test_jobs_without_end_do_not_put_off_what_follows(service: Service, sandbox: Sandbox) -> None:
    policy = [{"percent": 100, "action": "suspend"}]
    server = Metered(service, sandbox, "busy", traffic_bytes=10 * GB, traffic_policy=policy)

    def asked() -> list[dict[str, Any]]:
        jobs: list[dict[str, Any]] = service.read(f"jobs?server_id={server.id}&requested_by=quota")["jobs"]
        return jobs

    held = {"method": "POST", "path": "status/reboot", "delay": 8, "count": 1}
    sandbox.control.post("/faults", json=held).raise_for_status()
    live = service.ask(f"servers/{server.id}/power", {"action": "reboot"})["job"]["id"]
    server.count(11 * GB)
    [waits] = wait_for(asked, "the suspension to be queued", seconds=60)
    assert (waits["type"], waits["status"]) == ("server.suspend", "queued")
    assert service.read(f"jobs/{live}")["job"]["status"] == "running"
    service.finished(live)
    # The lock goes from one to the other: nobody comes in between.
    status, error = service.refused(f"servers/{server.id}/power", {"action": "reboot"})
    assert (status, error["code"]) in {(409, "locked"), (409, "conflict")}  # before and after its end
    assert service.finished(waits["id"])["status"] == "succeeded"
    assert (server.is_running, len(asked())) == (False, 1)


def test_no_limit_is_never_used_up_and_nothing_by_the_first_byte(service: Service, sandbox: Sandbox) -> None:
    policy = [{"percent": 1, "action": "notify"}, {"percent": 100, "action": "suspend"}]
    free = Metered(service, sandbox, "free", traffic_bytes=None, traffic_policy=policy)
    free.count(10**15)
    none = service.built("quota-none", start=False, limits={"traffic_bytes": 0, "traffic_policy": policy})
    service.done(f"nodes/{service.ids['node']}/sync")
    assert told(service, none["id"]) == []
    service.done(f"servers/{none['id']}/power", {"action": "start"})
    service.done(f"nodes/{service.ids['node']}/sync")
    wait_for(lambda: service.server(none["id"])["suspended"], "the suspension", seconds=60)
    assert told(service, none["id"]) == ["quota.warned", "quota.exceeded"]
    assert (free.told(), free.in_gb) == ([], 10**6)


def test_more_traffic_lets_thresholds_be_passed_again(service: Service, sandbox: Sandbox) -> None:
    policy = [{"percent": 100, "action": "throttle", "rate_bytes_per_second": 8 * 2**20}]
    limits = {"traffic_bytes": GB, "rate_bytes_per_second": 2 * 2**20, "traffic_policy": policy}
    server = Metered(service, sandbox, "again", **limits)
    server.count(GB)
    server.settled()
    wait_for(lambda: server.usage["throttle_bytes_per_second"], "the throttle", seconds=60)
    server.settled()
    assert server.rate == "2"  # never above its own limit
    service.ask(f"servers/{server.id}", {"limits": {"traffic_bytes": 2 * GB}}, "PATCH")
    wait_for(lambda: server.usage["throttle_bytes_per_second"] is None, "the end of the throttle", seconds=60)
    server.settled()
    server.count(3 * GB)
    assert server.told() == ["quota.exceeded", "quota.reset", "quota.exceeded"]
    assert service.ask(f"servers/{server.id}/usage/credit?check=true", {})["usage"]["counted_bytes"] == 0
    assert server.usage["credit_bytes"] == 0
    service.ask(f"servers/{server.id}/usage/credit", {"bytes": GB})
    credited = service.ask(f"servers/{server.id}/usage/credit", {"bytes": GB})["usage"]
    assert (credited["credit_bytes"], credited["in_bytes"] // GB) == (2 * GB, 3)
    wait_for(lambda: server.told()[3:] == ["quota.reset"], "the end of the throttle", seconds=60)
    service.refused(f"servers/{server.id}/usage/credit", {"bytes": 0})


@pytest.mark.parametrize(
    ("policy", "field"),
    [
        ([{"percent": 0, "action": "notify"}], "limits.traffic_policy.0.percent"),
        ([{"percent": 80, "action": "shout"}], "limits.traffic_policy.0.action"),
        ([{"percent": 80, "action": "throttle"}], "limits.traffic_policy.0.rate_bytes_per_second"),
        (
            [{"percent": 80, "action": "notify", "rate_bytes_per_second": 5000}],
            "limits.traffic_policy.0.rate_bytes_per_second",
        ),
        ([{"percent": 80, "action": "notify"}] * 2, "limits.traffic_policy"),
        ([{"percent": n, "action": "notify"} for n in range(1, 18)], "limits.traffic_policy"),
        ("80=notify", "limits.traffic_policy"),
    ],
)
def test_a_bad_policy_is_refused_and_named(service: Service, policy: Any, field: str) -> None:
    asked = {
        "name": "quota-bad",
        "template_id": service.ids["template"],
        "limits": {"traffic_policy": policy},
    }
    status, error = service.refused("servers", asked)
    assert (status, [problem["field"] for problem in error["details"]]) == (422, [field])


def test_traffic_is_shown_and_credited_on_the_command_line(
    service: Service, sandbox: Sandbox, run: Run
) -> None:
    server = Metered(service, sandbox, "typed")
    ask = remote(service)
    policy = ("--traffic-limit", "4GiB", "--traffic-policy", "80=notify,120=throttle:2MiB")
    assert run("server", "configure", "quota-typed", *policy, **ask).status == 0
    server.count(3 * 2**30, 2**29)
    shown = run("server", "usage", "quota-typed", **ask).out
    for part in ("3 GiB", "512 MiB", "4 GiB", "80 %: notify, since", "120 %: throttle to 2 MiB/s"):
        assert part in shown
    document = run("server", "usage", "quota-typed", "--by-days", "--json", **ask).document
    assert (document["resolution_seconds"], len(document["history"])) == (86_400, 1)
    assert "3 GiB" in run("server", "usage", "quota-typed", "--by-hours", **ask).out
    assert run("server", "usage", "quota-typed", "--by-hours", "--by-days", **ask).status == 2
    listed = run("usage", "list", "--sort", "-in_bytes", "--json", **ask).document["usage"]
    assert {"quota-typed"} <= {row["server_name"] for row in listed}
    assert run("usage", "list", "--month", "2020-01", "--json", **ask).document == {"usage": []}
    assert run("usage", "list", "--month", "2020", **ask).status == 1
    credited = run("usage", "credit", "quota-typed", "1GiB", "--json", **ask).document["usage"]
    assert credited["credit_bytes"] == 2**30
    everything = run("usage", "credit", "quota-typed", "--json", **ask).document["usage"]
    assert everything["counted_bytes"] == 0
    run("server", "configure", "quota-typed", "--traffic-policy", "default", **ask)
    assert server.shown["limits"]["traffic_policy"] is None


def test_workers_that_count_at_once_and_die_tell_of_a_threshold_once(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    settings = {"JOTUNHEIM_SYNC_SECONDS": "0.5"}
    with Service.start(tmp_path / "state", settings=settings) as service:
        service.add_infrastructure(sandbox)
        policy = [
            {"percent": 50, "action": "throttle", "rate_bytes_per_second": 3 * 2**20},
            {"percent": 100, "action": "suspend"},
        ]
        server = Metered(service, sandbox, "workers", traffic_bytes=10 * GB, traffic_policy=policy)
        service.start_worker()
        server.move(6 * GB)
        wait_for(lambda: server.told(), "the threshold", seconds=60)
        for worker in list(service.workers):
            service.kill_worker(worker)  # in the middle of whatever
        server.move(12 * GB)
        for _ in range(2):
            service.start_worker()
        wait_for(lambda: server.shown["suspended"], "the suspension", seconds=60)
        wait_for(lambda: server.rate == "3", "the throttle", seconds=60)
        wait_for(lambda: not server.is_running, "the stop", seconds=60)
        assert server.in_gb == 12
        assert server.told() == ["quota.exceeded"] * 2
        jobs = service.read(f"jobs?server_id={server.id}&requested_by=quota")["jobs"]
        assert sorted(job["type"] for job in jobs) == ["server.configure", "server.suspend"]
