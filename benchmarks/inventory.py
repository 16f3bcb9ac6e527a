"""What it takes to make 5,000 servers hosts of an inventory: from the API, from its cache, and from the database.

By itself: `python -m benchmarks.inventory [SERVERS]`.
"""

import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path

import yaml

from jotunheim.ansible import paths
from jotunheim.repositories.peewee import database
from jotunheim.repositories.peewee.accounts import User
from jotunheim.repositories.peewee.addresses import AddressPool
from jotunheim.repositories.peewee.infrastructure import Node, Template
from jotunheim.repositories.peewee.labels import Label
from jotunheim.repositories.peewee.servers import Server
from jotunheim.settings import Settings
from tests.support.sandbox import Sandbox
from tests.support.service import Service

SERVERS = 5000
SECONDS = 2.0
RUNS = 5
BASE = "their names alone, from a YAML file with one group"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJx0wqEEMq7wLr8XbJ3WYmHyZ8aQ9sYqv3nXhGm0Q4pB admin@web"
Figures = dict[str, list[float]]
NOTE = (
    "\nMade by the plugin `jotunheim.pve.servers`, with groups by location, node, template, owner, labels and status and with all variables; from "
    f"the database with those that the playbooks need. Ansible is loaded already. Each is to take at most {SECONDS:g} s."
)


def measure(directory: Path, servers: int = SERVERS) -> Figures:
    """Seconds of each run, by where the hosts are from, in turns; each in a process of its own that has loaded Ansible."""
    folder = directory / "inventory"
    folder.mkdir()
    with (
        Sandbox.start(folder, time_scale=0) as sandbox,
        Service.start(folder / "state", worker=False) as service,
    ):
        service.add_infrastructure(sandbox)
        pool = {"name": "many", "family": "ipv4", "prefix": "10.100.0.0/18", "gateway": "10.100.0.1"}
        service.create("address-pools", pool)
        add_servers(service, servers, first_vmid=100_000, name="web", pool="many")
        url = str(service.http.base_url).removesuffix("/api/v1/")
        cached = {"cache": True, "cache_plugin": "jsonfile", "cache_connection": str(folder / "cache")}
        names = yaml.safe_dump({"all": {"hosts": {f"web-{number}": {} for number in range(servers)}}})
        (folder / "names.yml").write_text(names)
        ways = {
            BASE: folder / "names.yml",
            "the API's cache": _configured(folder, "cached", url=url, **cached),
            f"the API, with {-(-servers // 200)} requests": _configured(folder, "api", url=url),
            "the database": _configured(folder, "database", source="database"),
        }
        environment = {
            **os.environ,
            **paths.environment(),
            "JOTUNHEIM_STATE_DIR": str(service.state),
            "JOTUNHEIM_TOKEN": service.token,
        }
        figures: Figures = {name: [] for name in ways}
        for run, (name, file) in itertools.product(range(RUNS + 1), ways.items()):
            seconds = _parsed(file, servers, environment)
            if run:  # the first one fills the cache
                figures[name].append(seconds)
    return figures


def note(figures: Figures) -> str:
    """What stands below the figures: what they are of, and which of them are more than they may be."""
    # The quickest run: what else the machine does is none of our cost.
    slow = [name for name, took in figures.items() if name != BASE and min(took) > SECONDS]
    return NOTE + (f" **Not reached** by {' and '.join(slow)}." if slow else "")


def add_servers(
    service: Service,
    count: int,
    *,
    first_vmid: int,
    name: str,
    pool: str | None = None,
    labels: Mapping[str, str] | None = None,
) -> None:
    """Records of servers that are ready and have labels, and an address each if there is a pool for it; without VMs."""
    database.connect(Settings(state_dir=service.state))
    try:
        node, template, owner = Node.get(), Template.get(), User.get()
        addresses = AddressPool.get(AddressPool.name == pool) if pool else None
        with database.transaction():
            for number in range(count):
                server = Server.create(
                    id=uuid.uuid4(),
                    vmid=first_vmid + number,
                    name=f"{name}-{number}",
                    hostname=f"{name}-{number}.example.com",
                    owner=owner,
                    node=node,
                    template=template,
                    cpu=2,
                    memory_bytes=2**30,
                    disk_bytes=10 * 2**30,
                    ssh_keys=[KEY],
                    tags=["web"],
                    status="ready",
                    power="running",
                    force_insert=True,
                )
                Label.attach(
                    server, labels or {"env": ("ci", "dev", "prod")[number % 3], "tier": f"t{number % 7}"}
                )
                if addresses is not None:
                    addresses.allocate(server, 1)
    finally:
        database.database.close()


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name:
        figures = measure(Path(name), int(sys.argv[1]) if len(sys.argv) > 1 else SERVERS)
    base = statistics.median(figures[BASE])
    for what, values in figures.items():
        median = statistics.median(values)
        print(
            f"{what}: quickest {min(values):.2f} s, median {median:.2f} s, slowest {max(values):.2f} s, ratio {median / base:.1f}"
        )
    print(note(figures))


def _configured(folder: Path, name: str, **options: object) -> Path:
    file = folder / f"{name}.jotunheim.yml"
    file.write_text(yaml.safe_dump({"plugin": "jotunheim.pve.servers", **options}))
    return file


_PARSE = """
import sys, time
from ansible.plugins.loader import init_plugin_loader
init_plugin_loader([])
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
began = time.perf_counter()
hosts = InventoryManager(loader=DataLoader(), sources=[sys.argv[1]]).hosts
print(time.perf_counter() - began, len(hosts))
"""


def _parsed(file: Path, servers: int, environment: Mapping[str, str]) -> float:
    """Seconds in which Ansible makes hosts of an inventory."""
    command = [sys.executable, "-c", _PARSE, str(file)]
    done = subprocess.run(command, env=dict(environment), capture_output=True, text=True, check=True)
    seconds, hosts = done.stdout.split()
    if int(hosts) != servers:
        raise SystemExit(f"{file.name} has {hosts} hosts:\n{done.stderr}")
    return float(seconds)


if __name__ == "__main__":
    main()
