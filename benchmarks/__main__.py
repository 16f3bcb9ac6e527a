"""Runs all benchmarks against one sandbox and writes docs/benchmarks.md.

Single figures say little on a shared machine; the ratios are what counts.
"""

import os
import platform
import statistics
import tempfile
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path

from benchmarks import api, build, drift, inventory, many, pools
from benchmarks import runner as runs
from benchmarks import sandbox as stand_in
from tests.support.sandbox import Sandbox
from tests.support.service import Service

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
Figures = dict[str, list[float]]
"""Seconds of each run, by what was run."""

PACKAGES = ("ansible-core", "ansible-runner", "peewee", "starlette", "proxmoxer")


def main() -> None:
    """Measure and write."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        with (
            Sandbox.start(directory, time_scale=0) as sandbox,
            Service.start(directory / "state") as service,
            Service.start(directory / "plain", settings={"JOTUNHEIM_WARM_ANSIBLE": "false"}) as plain,
        ):
            service.add_infrastructure(sandbox)
            plain.add_infrastructure(sandbox)
            builds = build.measure(service, plain, sandbox)
            requests = api.measure(service)
        noop = runs.measure()
        reads, clones = stand_in.measure(directory)
        made, taken = pools.measure(directory)
        looked = drift.measure(directory)
        grown = many.measure(directory)
        hosts = inventory.measure(directory)
    PAGE.write_text(
        "\n".join(_page(builds, noop, requests, looked, grown, hosts, made, taken, reads, clones)) + "\n"
    )
    print(PAGE.read_text())


def _page(
    builds: Figures,
    noop: Figures,
    requests: Figures,
    looked: drift.Figures,
    grown: list[many.Figures],
    hosts: Figures,
    made: Figures,
    taken: Figures,
    reads: Figures,
    clones: Figures,
) -> Iterable[str]:
    yield "# Benchmarks"
    yield ""
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    yield (
        f"Made by `make bench` on {os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()}, "
        f"{packages}. The sandbox takes no time for what it does, so all that is measured is our own cost. "
        "Ratios hold across machines, seconds do not."
    )
    yield from _table(
        "One server, from the request to *ready*", builds, build.RAW, "s", lambda seconds: f"{seconds:.2f}"
    )
    yield from _table(
        "A playbook that does nothing, through ansible-runner",
        noop,
        runs.WARM,
        "s",
        lambda seconds: f"{seconds:.2f}",
    )
    yield from _table("One request", requests, api.BASE, "ms", lambda seconds: f"{1000 * seconds:.1f}")
    yield from many.page(grown)
    yield from drift.page(looked)
    yield from _table(
        f"{inventory.SERVERS} servers as hosts of an Ansible inventory",
        hosts,
        inventory.BASE,
        "s",
        lambda seconds: f"{seconds:.2f}",
    )
    yield inventory.note(hosts)
    yield from _table("Making an address pool", made, pools.RAW, "s", lambda seconds: f"{seconds:.2f}")
    yield from _table("Taking one address", taken, pools.SMALL, "ms", lambda seconds: f"{1000 * seconds:.1f}")
    yield (
        f"\nA pool is to be made within {pools.CREATE_SECONDS:g} s, and an address of it taken within "
        f"{1000 * pools.ALLOCATE_SECONDS:.0f} ms."
    )
    yield from _table(
        f"The sandbox itself: one read, with {stand_in.VMS} VMs",
        reads,
        stand_in.BASE,
        "ms",
        lambda seconds: f"{1000 * seconds:.1f}",
    )
    yield (
        f"\nIt must never hide our own cost: a VM's configuration and status are to take at most "
        f"{1000 * stand_in.READ_SECONDS:.0f} ms, and {stand_in.CLONES} full clones, each waited for, "
        f"{stand_in.CLONE_SECONDS} s."
    )
    yield from _table(
        f"The sandbox itself: {stand_in.CLONES} full clones, {stand_in.CALLERS} callers at once",
        clones,
        stand_in.RAW,
        "s",
        lambda seconds: f"{seconds:.2f}",
    )


def _table(
    title: str, figures: Figures, base: str, unit: str, shown: Callable[[float], str]
) -> Iterable[str]:
    yield f"\n## {title}\n"
    yield f"| what | runs | median ({unit}) | slowest ({unit}) | ratio |"
    yield "|---|---|---|---|---|"
    reference = statistics.median(figures[base])
    for name, values in figures.items():
        median = statistics.median(values)
        yield f"| {name} | {len(values)} | {shown(median)} | {shown(max(values))} | {median / reference:.1f} |"


if __name__ == "__main__":
    main()
