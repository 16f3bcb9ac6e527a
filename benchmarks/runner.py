"""What a run costs before its first task: a playbook that does nothing, as the worker runs it.

By itself: `python -m benchmarks.runner`, which also shows processor time and memory.
"""

import os
import re
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from jotunheim.ansible import runner
from jotunheim.ansible.warm import WarmAnsible

RUNS = 9
PLAIN = "Ansible started anew for the run"
WARM = "Ansible loaded already, and forked for the run"
PLAYBOOK = "- hosts: servers\n  gather_facts: false\n  tasks: [{ansible.builtin.debug: {msg: done}}]\n"


def measure() -> dict[str, list[float]]:
    """Seconds of each run, in turns."""
    seconds: dict[str, list[float]] = {PLAIN: [], WARM: []}
    with tempfile.TemporaryDirectory() as name:
        warm = _started()
        for number in range(RUNS + 1):
            for way, used in ((PLAIN, None), (WARM, warm)):
                runner._warm = used
                began = time.perf_counter()
                _run(Path(name))
                if number:
                    seconds[way].append(time.perf_counter() - began)
        runner._warm = None
        warm.close()
    return seconds


def main() -> None:
    """Measure and print."""
    for way, values in measure().items():
        print(f"{way}: median {statistics.median(values):.3f} s, slowest {max(values):.3f} s")
    with tempfile.TemporaryDirectory() as name:
        print(f"processor time of a plain run: {_processor(lambda: _run(Path(name)), None):.3f} s")
        warm = _started()
        pid = warm.pid()
        assert pid
        print(f"of a warm one: {_processor(lambda: _run(Path(name)), pid):.3f} s")
        idle = _processor_of(pid)
        time.sleep(5)
        status = Path(f"/proc/{pid}/status").read_text()
        print(f"the loaded Ansible: {re.search(r'VmRSS:.*', status)[0]}")  # type: ignore[index]
        print(f"its processor time in 5 idle seconds: {_processor_of(pid) - idle:.3f} s")
        runner._warm = None
        warm.close()


def _started() -> WarmAnsible:
    warm = runner.keep_warm()
    warm.start()
    with tempfile.TemporaryDirectory() as name:
        _run(Path(name))  # waits until it is loaded
    return warm


def _run(folder: Path) -> None:
    playbook = folder / "playbook.yml"
    playbook.write_text(PLAYBOOK)
    done = runner.run(
        runner.Run(
            playbook=str(playbook),
            hosts=[runner.Host("host", "job", 1, {})],
            directory=folder / "run",
            timeout_seconds=60,
            on_event=lambda _: None,
            is_cancelled=lambda: False,
            environment={},
        )
    )
    done.of("host")


def _processor(act: Callable[[], None], pid: int | None) -> float:
    """Seconds of processor time per call, of this process, of what it started, and of a process and its children."""

    def spent() -> float:
        kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        ours = sum(usage.ru_utime + usage.ru_stime for usage in map(resource.getrusage, kinds))
        return ours + (_processor_of(pid) if pid else 0)

    began = spent()
    for _ in range(RUNS):
        act()
    return (spent() - began) / RUNS


def _processor_of(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
