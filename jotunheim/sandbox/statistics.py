"""What PVE's statistics daemon has recorded (RRD data): synthesised curves of the right shape."""

import math
import time
from collections.abc import Callable
from typing import Any

from jotunheim.sandbox.call import Call, Routes
from jotunheim.sandbox.cluster import last_round
from jotunheim.sandbox.errors import ApiError, failure
from jotunheim.sandbox.nodes import ROOT_TOTAL, ROOT_USED, memory_used
from jotunheim.sandbox.vms import summary

routes = Routes()

STEPS = {"hour": 60, "day": 1800, "week": 10_800, "month": 43_200, "year": 604_800}
POINTS = 70
FOLDER = "/var/lib/rrdcached/db"


def _missing(path: str) -> ApiError:
    return failure(f"RRD error: opening '{FOLDER}/{path}': No such file or directory")


def _series(
    timeframe: str, since: float, sample: Callable[[float], dict[str, float]]
) -> list[dict[str, Any]]:
    """One point for each step; points before `since` have no data."""
    step = STEPS[timeframe]
    end = int(time.time()) // step * step
    times = [end - step * number for number in range(POINTS - 1, -1, -1)]
    return [{"time": at} | (sample(_wave(at)) if at >= since else {}) for at in times]


def _wave(at: int) -> float:
    """Between 0 and 1, smooth, the same for the same time."""
    return (math.sin(at / 600) + 1) / 2


@routes("GET", "/nodes/{node}/rrddata")
async def node_data(call: Call) -> list[dict[str, Any]]:
    """A node's load over time."""
    node = call.world.state.nodes[call.node]
    used = memory_used(call.world, node)

    def sample(wave: float) -> dict[str, float]:
        return {
            "cpu": 0.02 + 0.05 * wave,
            "iowait": 0.001 * wave,
            "loadavg": 0.1 + 0.4 * wave,
            "maxcpu": node.cpus,
            "memtotal": node.memory,
            "memused": used,
            "netin": 900 + 400 * wave,
            "netout": 700 + 300 * wave,
            "roottotal": ROOT_TOTAL,
            "rootused": ROOT_USED,
            "swaptotal": 0,
            "swapused": 0,
        }

    return _series(call.params["timeframe"], node.started, sample)


@routes("GET", "/nodes/{node}/qemu/{vmid}/rrddata")
async def vm_data(call: Call) -> list[dict[str, Any]]:
    """A VM's load over time; only its sizes while it is stopped."""
    vm = call.world.state.vms.get(call.vmid)
    if vm is None or vm.created >= last_round(call.world):
        raise _missing(f"pve2-vm/{call.vmid}")
    current = summary(vm, call.world.state.nodes[vm.node].cpus)
    running = vm.run is not None

    def sample(wave: float) -> dict[str, float]:
        sizes = {
            "disk": 0,
            "maxcpu": current["cpus"],
            "maxdisk": current["maxdisk"],
            "maxmem": current["maxmem"],
        }
        if not running:
            return sizes
        return sizes | {
            "cpu": 0.01 + 0.1 * wave,
            "diskread": 2000 * wave,
            "diskwrite": 4000 * wave,
            "mem": current["mem"],
            "netin": 300 * wave,
            "netout": 200 * wave,
        }

    return _series(call.params["timeframe"], vm.created, sample)


@routes("GET", "/nodes/{node}/storage/{storage}/rrddata")
async def storage_data(call: Call) -> list[dict[str, Any]]:
    """A storage's use over time."""
    storage = call.world.state.storages.get(call.params["storage"])
    if storage is None:
        raise _missing(f"pve2-storage/{call.node}/{call.params['storage']}")
    used, total = call.world.volumes.used(storage, call.node), storage.total
    since = call.world.state.nodes[call.node].started
    return _series(call.params["timeframe"], since, lambda _wave: {"total": total, "used": used})
