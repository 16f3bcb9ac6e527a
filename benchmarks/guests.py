"""Many guests at once: how long they take to boot, how the sandbox answers meanwhile, what memory they take.

By itself: `python -m benchmarks.guests`. The memory is that of all processes of the guests and of their
supervisor (proportional set size: shared pages are counted once), with an ssh session open in each guest, and
of the files on their disks, which are in memory too.
"""

import asyncio
import ssl
import statistics
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

import httpx

from tests.sandbox.requests import VM, Pve
from tests.support.guests import SshClient
from tests.support.sandbox import Sandbox

GUESTS = 50
FIRST = 1000
MOST_MEMORY = 2 * 1024**3
MIB = 1024**2


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        client = SshClient.make(folder)
        shared_before = _shared_memory()
        with Sandbox.start(folder, time_scale=0, guests="process") as sandbox:
            pve = Pve(sandbox)
            vmids = range(FIRST, FIRST + GUESTS)
            for vmid in vmids:
                pve.clone(vmid)
                pve.ok("PUT", f"{VM}/{vmid}/config", sshkeys=quote(client.public_key, safe=""))
            began = time.perf_counter()
            reads = asyncio.run(_boot_all(sandbox))
            print(f"{GUESTS} guests booted in {time.perf_counter() - began:.1f} s")
            print(
                f"reads meanwhile: median {1000 * statistics.median(reads):.1f} ms, slowest {1000 * max(reads):.0f} ms"
            )
            print(
                f"at rest: {_memory(sandbox) / MIB:.0f} MiB in processes, {_files(shared_before) / MIB:.0f} MiB in files"
            )
            guests = {
                vm["vmid"]: vm["guest"]["ssh"] for vm in sandbox.control.get("/vms").json() if vm["guest"]
            }
            sessions = [client.session(where, "debian") for where in guests.values()]
            for session in sessions:
                assert session.stdout is not None
                assert session.stdout.readline() == b"in\n"
            memory, files = _memory(sandbox), _files(shared_before)
            print(
                f"each with an ssh session: {memory / MIB:.0f} MiB in processes, {files / MIB:.0f} MiB in files"
            )
            for session in sessions:
                session.kill()
                session.communicate()
            assert memory + files <= MOST_MEMORY


async def _boot_all(sandbox: Sandbox) -> list[float]:
    """Start all guests at once; the seconds of each read until the last is up."""
    context = ssl.create_default_context(cafile=sandbox.ready["ca_pem_file"])
    headers = {"Authorization": f"PVEAPIToken={sandbox.token_id}={sandbox.token_secret}"}
    url = sandbox.ready["url"] + "/api2/json"
    reads: list[float] = []
    async with (
        httpx.AsyncClient(base_url=url, headers=headers, verify=context, timeout=60) as api,
        httpx.AsyncClient(base_url=sandbox.ready["control_url"], timeout=60) as control,
    ):
        starts = [api.post(f"{VM}/{FIRST + number}/status/start") for number in range(GUESTS)]
        for answer in await asyncio.gather(*starts):
            answer.raise_for_status()
        while True:
            began = time.perf_counter()
            (await api.get(f"{VM}/{FIRST}/config")).raise_for_status()
            reads.append(time.perf_counter() - began)
            guests = [vm["guest"] for vm in (await control.get("/vms")).json() if vm["guest"]]
            if len(guests) == GUESTS and all(guest["phase"] == "ready" for guest in guests):
                return reads
            await asyncio.sleep(0.02)


def _memory(sandbox: Sandbox) -> int:
    """The proportional set size of all processes below the sandbox."""
    return sum(_pss(pid) for pid in _below(sandbox.process.pid))


def _below(pid: int) -> list[int]:
    children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return children + [deeper for child in children for deeper in _below(child)]


def _pss(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def _shared_memory() -> int:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Shmem:"))


def _files(before: int) -> int:
    return max(0, _shared_memory() - before)


if __name__ == "__main__":
    main()
