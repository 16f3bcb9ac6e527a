"""A look at the VMs of many servers, through the whole service: how long it takes, and whose processor time it is.

By itself: `python -m benchmarks.drift [SERVERS]`.
"""

import ssl
import sys
import tempfile
import time
import uuid
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from benchmarks import processor
from jotunheim.repositories.peewee import database
from jotunheim.repositories.peewee.accounts import User
from jotunheim.repositories.peewee.addresses import Address, AddressPool
from jotunheim.repositories.peewee.infrastructure import Node, Template
from jotunheim.repositories.peewee.servers import Server
from jotunheim.settings import Settings
from tests.support.sandbox import Sandbox
from tests.support.service import Service

SERVERS = 500
SECONDS = 60.0
CORES = 2
DRIFTED_EVERY = 20
FIRST = 2000
CALLERS = 8
DISK = 2 * 1024**3
GATEWAY = "10.100.0.1"


@dataclass(frozen=True)
class Figures:
    """What a look at all servers took, in seconds."""

    servers: int
    elapsed: float
    own: float
    """Processor time of the worker, and of all that it has started."""
    sandbox: float
    """Processor time of the sandbox, which is nothing of ours."""

    @property
    def on_two_cores(self) -> float:
        """Our own time, if nobody else used the two cores."""
        return self.own / CORES


def measure(directory: Path, servers: int = SERVERS) -> Figures:
    """Look at so many servers, of which some have drifted.

    Raises:
        SystemExit: it takes longer than it may, or something else is found than was made.
    """
    folder = directory / "drift"
    folder.mkdir()
    with Sandbox.start(folder, time_scale=0) as sandbox, Service.start(folder / "state") as service:
        service.add_infrastructure(sandbox)
        pool = {"name": "many", "family": "ipv4", "prefix": "10.100.0.0/21", "gateway": GATEWAY}
        service.create("address-pools", pool)
        made = _servers(service, servers)
        _vms(sandbox, made)
        service.done(f"servers/{made[0]['id']}/drift/check")  # Ansible is loaded
        worker, other = service.workers[0].pid, sandbox.process.pid
        before, began = (processor.seconds(worker), processor.seconds(other)), time.perf_counter()
        job = service.finished(service.ask(f"nodes/{service.ids['node']}/drift")["job"]["id"], seconds=600)
        took = time.perf_counter() - began
        after = (processor.seconds(worker), processor.seconds(other))
    drifted = len(range(0, servers, DRIFTED_EVERY))
    if job["result"] != {"in_sync": servers - drifted, "drifted": drifted}:
        raise SystemExit(f"The look has found something else: {job['result']}, {job['error']}")
    figures = Figures(servers, took, after[0] - before[0], after[1] - before[1])
    if figures.on_two_cores > SECONDS * servers / SERVERS:
        raise SystemExit(f"Looking for drift is slow: {figures}")
    return figures


def page(figures: Figures) -> Iterable[str]:
    """The section of docs/benchmarks.md."""
    yield f"\n## Looking for drift on {figures.servers} servers, of which some have drifted\n"
    yield "| what | s | ms a server |"
    yield "|---|---|---|"
    for what, seconds in (
        ("our own processor time: the worker, Ansible and its processes", figures.own),
        (f"the same, on {CORES} cores", figures.on_two_cores),
        ("processor time of the sandbox, which is none of ours", figures.sandbox),
        ("from the request until the job has succeeded, with whatever else the machine did", figures.elapsed),
    ):
        yield f"| {what} | {seconds:.1f} | {1000 * seconds / figures.servers:.0f} |"
    yield (
        f"\n{SERVERS} servers are to be looked at within {SECONDS:.0f} s of our own time on {CORES} cores. Processor times are the kernel's, "
        "of all processes below the worker, and of the sandbox's."
    )


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name:
        figures = measure(Path(name), int(sys.argv[1]) if len(sys.argv) > 1 else SERVERS)
    print("\n".join(page(figures)))


def _servers(service: Service, count: int) -> list[dict[str, Any]]:
    """Records of servers that are ready, with an address each."""
    database.connect(Settings(state_dir=service.state))
    made = []
    try:
        node, template = Node.get(), Template.get()
        owner, pool = User.get(), AddressPool.get(AddressPool.name == "many")
        with database.transaction():
            for number in range(count):
                name = f"web-{number}"
                server = Server.create(
                    id=uuid.uuid4(),
                    vmid=FIRST + number,
                    name=name,
                    hostname=name,
                    owner=owner,
                    node=node,
                    template=template,
                    cpu=2,
                    memory_bytes=2**30,
                    disk_bytes=DISK,
                    tags=["web"],
                    mac=f"BC:24:11:00:{number >> 8:02X}:{number & 255:02X}",
                    status="ready",
                    power="stopped",
                    force_insert=True,
                )
                pool.allocate(server, 1)
                (address,) = Address.of([server])[server.id]
                made.append(
                    {"id": str(server.id), "vmid": server.vmid, "name": name, "mac": server.mac}
                    | {"address": address.address}
                )
    finally:
        database.database.close()
    return made


def _vms(sandbox: Sandbox, made: list[dict[str, Any]]) -> None:
    """Their VMs, as a build makes them; each of some has another number of cores."""
    context = ssl.create_default_context(cafile=sandbox.ready["ca_pem_file"])
    where = {"base_url": sandbox.api.base_url, "headers": sandbox.api.headers, "timeout": 60}

    def make(caller: int) -> None:
        with httpx.Client(**where, verify=context) as pve:
            for number in range(caller, len(made), CALLERS):
                _vm(pve, made[number], cores=3 if number % DRIFTED_EVERY == 0 else 2)

    with ThreadPoolExecutor(CALLERS) as pool:
        list(pool.map(make, range(CALLERS)))


def _vm(pve: httpx.Client, server: Mapping[str, Any], cores: int) -> None:
    base = f"/nodes/pve1/qemu/{server['vmid']}"

    def send(method: str, path: str, **data: Any) -> Any:
        return pve.request(method, path, data=data).raise_for_status().json()["data"]

    upid = send("POST", "/nodes/pve1/qemu/9000/clone", newid=server["vmid"], full=1, name=server["name"])
    while send("GET", f"/nodes/pve1/tasks/{upid}/status")["status"] != "stopped":
        pass
    send(
        "PUT",
        f"{base}/config",
        description=f"jotunheim:server={server['id']}",
        smbios1=f"uuid={server['id']}",
        cores=cores,
        memory=1024,
        tags="web",
        onboot=1,
        agent="1",
        net0=f"virtio={server['mac']},bridge=vmbr0,firewall=1",
        ciuser="debian",
        ipconfig0=f"ip={server['address']}/21,gw={GATEWAY}",
    )
    options = {"enable": 1, "macfilter": 1, "ipfilter": 1, "policy_in": "ACCEPT", "policy_out": "ACCEPT"}
    send("PUT", f"{base}/firewall/options", **options)
    send("POST", f"{base}/firewall/ipset", name="ipfilter-net0")
    send("POST", f"{base}/firewall/ipset/ipfilter-net0", cidr=server["address"])


if __name__ == "__main__":
    main()
