"""Many builds that are asked for one by one: together in runs of Ansible, and each in a run of its own.

By itself: `python -m benchmarks.many [SERVERS…]`.
"""

import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks import processor
from tests.support.processes import wait_for
from tests.support.sandbox import Sandbox
from tests.support.service import Service

COUNTS = (10, 100)
ALONE_AT_MOST = 100
"""More builds in runs of their own take minutes, and cost as much each."""
CALLERS = 8
SECONDS = 900


@dataclass(frozen=True)
class Figures:
    """What so many builds took, in seconds.

    Attributes:
        elapsed: from the first request until the last server was ready.
        worker, api: processor time of the worker with all that it started, and of the API.
    """

    together: bool
    servers: int
    elapsed: float
    worker: float
    api: float


def measure(directory: Path, counts: Sequence[int] = COUNTS) -> list[Figures]:
    """Both ways, for each of these numbers of servers; each in a service and a sandbox of its own."""
    found = []
    for count in counts:
        for together in (True, False):
            if together or count <= ALONE_AT_MOST:
                folder = directory / f"many-{count}-{together}"
                folder.mkdir()
                found.append(_measure(folder, count, together=together))
    return found


def _measure(folder: Path, count: int, *, together: bool) -> Figures:
    settings = {
        "JOTUNHEIM_BATCH_JOBS": "25" if together else "1",
        "JOTUNHEIM_SWEEP_SECONDS": "3",  # as by default; other tests look more often, and have shorter leases
        "JOTUNHEIM_LEASE_SECONDS": "10",
    }
    with (
        Sandbox.start(folder, time_scale=0) as sandbox,
        Service.start(folder / "state", settings=settings) as service,
    ):
        service.add_infrastructure(
            sandbox, max_concurrent_clones=100, memory_overcommit=100, disk_overcommit=100
        )
        service.built("first")  # Ansible is loaded
        worker, api = service.workers[0].pid, service.api.pid
        before, began = (processor.seconds(worker), processor.seconds(api)), time.perf_counter()
        with ThreadPoolExecutor(CALLERS) as pool:
            list(pool.map(lambda number: service.create_server(f"many-{number}", start=False), range(count)))

        def ready() -> bool:
            query = "servers?status=ready&per_page=1"
            return bool(service.read(query)["meta"]["pagination"]["total_entries"] == count + 1)

        wait_for(ready, f"{count} servers", seconds=SECONDS)
        elapsed = time.perf_counter() - began
        return Figures(
            together,
            count,
            elapsed,
            processor.seconds(worker) - before[0],
            processor.seconds(api) - before[1],
        )


def page(figures: Iterable[Figures]) -> Iterable[str]:
    """The section of docs/benchmarks.md."""
    yield "\n## Many servers, each asked for by a request of its own\n"
    yield "| servers | runs | s | ms a server | ms of the worker's processor time a server | of the API's |"
    yield "|---|---|---|---|---|---|"
    for found in figures:
        way = "shared by up to 25" if found.together else "one a server (`BATCH_JOBS=1`)"
        each = [1000 * value / found.servers for value in (found.elapsed, found.worker, found.api)]
        columns = " | ".join(f"{value:.0f}" for value in each)
        yield f"| {found.servers} | {way} | {found.elapsed:.1f} | {columns} |"


def main() -> None:
    """Measure and print."""
    counts = [int(text) for text in sys.argv[1:]] or COUNTS
    with tempfile.TemporaryDirectory() as name:
        print("\n".join(page(measure(Path(name), counts))))


if __name__ == "__main__":
    main()
