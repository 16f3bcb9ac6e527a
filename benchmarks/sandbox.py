"""What the sandbox itself costs, so that it never hides our own cost."""

import ssl
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from tests.support.sandbox import Sandbox

READ_SECONDS = 0.003
CLONE_SECONDS = 10.0
CLONES = 500
VMS = CLONES + 1
CALLERS = 8
RUNS = 200
FIRST = 2000
BASE = "`GET /version`"
RAW = f"as many `GET /version`, {CALLERS} at once"
ONE_VM = {
    "`GET …/qemu/{vmid}/config`": f"/nodes/pve1/qemu/{FIRST}/config",
    "`GET …/qemu/{vmid}/status/current`": f"/nodes/pve1/qemu/{FIRST}/status/current",
}
ALL_VMS = {
    "`GET /nodes/{node}/qemu`": "/nodes/pve1/qemu",
    "`GET /cluster/resources`": "/cluster/resources",
    "`GET /cluster/nextid`": "/cluster/nextid",
}

Figures = dict[str, list[float]]


def measure(directory: Path) -> tuple[Figures, Figures]:
    """Seconds of single reads among many VMs, and of making these VMs by full clones.

    Raises:
        SystemExit: the sandbox is slower than it may be.
    """
    folder = directory / "stand-in"
    folder.mkdir()
    with Sandbox.start(folder, time_scale=0) as sandbox:
        clones = _clones(sandbox)
        reads = _reads(sandbox)
    slowest = max(statistics.median(reads[name]) for name in ONE_VM)
    longest = max(max(seconds) for seconds in clones.values())
    if slowest > READ_SECONDS or longest > CLONE_SECONDS:
        raise SystemExit(
            f"The sandbox is too slow: {1000 * slowest:.1f} ms a read, {longest:.1f} s for the clones."
        )
    return reads, clones


def _clones(sandbox: Sandbox) -> Figures:
    """All clones are sent, waited for and found OK by a few callers, each with its own connection."""

    def clone(pve: httpx.Client, vmid: int) -> None:
        sent = pve.post("/nodes/pve1/qemu/9000/clone", data={"newid": vmid, "full": 1, "name": f"c{vmid}"})
        upid = sent.raise_for_status().json()["data"]
        while True:
            task = pve.get(f"/nodes/pve1/tasks/{upid}/status").json()["data"]
            if task["status"] == "stopped":
                break
        assert task["exitstatus"] == "OK", task

    def version(pve: httpx.Client, _vmid: int) -> None:
        pve.get("/version").raise_for_status()

    ways = {RAW: version, "full clones, each polled until its task has ended": clone}
    return {name: [_together(sandbox, way)] for name, way in ways.items()}


def _together(sandbox: Sandbox, way: Callable[[httpx.Client, int], None]) -> float:
    context = ssl.create_default_context(cafile=sandbox.ready["ca_pem_file"])

    def call(caller: int) -> None:
        with httpx.Client(base_url=sandbox.api.base_url, headers=sandbox.api.headers, verify=context) as pve:
            for vmid in range(FIRST + caller, FIRST + CLONES, CALLERS):
                way(pve, vmid)

    with ThreadPoolExecutor(CALLERS) as pool:
        began = time.perf_counter()
        list(pool.map(call, range(CALLERS)))
        return time.perf_counter() - began


def _reads(sandbox: Sandbox) -> Figures:
    ways = {BASE: "/version", **ONE_VM, **ALL_VMS}
    seconds: Figures = {name: [] for name in ways}
    for _ in range(RUNS):
        for name, path in ways.items():
            began = time.perf_counter()
            sandbox.get(path)
            seconds[name].append(time.perf_counter() - began)
    return seconds
