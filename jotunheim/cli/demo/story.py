"""What the demo does, in order: from nothing to a server, and the same run by hand."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jotunheim.cli.board import JobBoard, Silence
from jotunheim.cli.checklist import Checklist
from jotunheim.cli.client import Api
from jotunheim.cli.demo.directory import DemoDirectory
from jotunheim.cli.demo.hypervisor import Hypervisor
from jotunheim.cli.demo.machines import Machines
from jotunheim.cli.demo.replay import Replay
from jotunheim.cli.output import Document
from jotunheim.cli.store import drivers_of
from jotunheim.cli.waiting import failure_of, wait_for

# Long enough to see a clone at work, short enough to watch.
TIME_SCALE = 0.6
ADMIN = "demo@jotunheim.example"
GIB = 2**30
BUILD_SECONDS = 120
NETWORK = "10.77.0.0/24"
GATEWAY = "10.77.0.1"


@dataclass(frozen=True)
class Outcome:
    """What the demo has to show at its end."""

    url: str
    token: str
    servers: list[Document]
    vms: list[Document]
    jobs: list[Document]
    replay: Replay
    recap: dict[str, dict[str, int]]
    took_seconds: float


def tell(
    directory: DemoDirectory, machines: Machines, checklist: Checklist, count: int, *, silent: bool
) -> Outcome:
    """Start everything, build servers, and replay the run by hand.

    Raises:
        CommandError: a process ended, the API refused, a job failed, or the replay did.
    """
    began = time.monotonic()
    starting = checklist.begin("Starting a Proxmox VE stand-in")
    machines.start(
        "sandbox",
        "sandbox",
        "--time-scale",
        str(TIME_SCALE),
        "--state",
        str(directory.hypervisor_file),
    )
    token = _initialize(directory, checklist)
    sandbox = machines.ready("sandbox")
    checklist.end(starting, note=sandbox["url"])

    starting = checklist.begin("Starting service and worker")
    machines.start("service", "up", "--json", "--concurrency", str(min(count, 4)))
    url = str(machines.ready("service")["url"])
    checklist.end(starting, note=url)

    with Api(url, token) as api, Hypervisor(sandbox) as hypervisor:
        template_id = _add_infrastructure(api, sandbox, checklist)
        names = [f"web-{number}" for number in range(1, count + 1)]
        created = [_create(api, name, template_id) for name in names]
        job_ids = [answer["job"]["id"] for answer in created]
        titles = dict(zip(job_ids, (f"Building {name}" for name in names), strict=True))
        listener = Silence() if silent else JobBoard(api, checklist, titles)
        ended = wait_for(api, job_ids, BUILD_SECONDS, listener)
        machines.check()
        for job_id in job_ids:
            failure = failure_of(ended[job_id])
            if failure:
                raise failure
        servers = [api.get(f"/servers/{answer['server']['id']}")["server"] for answer in created]
        vms = [hypervisor.vm(server["node"]["name"], server["vmid"]) for server in servers]

    replaying = checklist.begin("Replaying the run by hand")
    _write_inventories(directory, job_ids)
    replay = Replay(directory, names, sandbox["url"].removeprefix("https://"))
    recap = replay.run()
    counts = next(iter(recap.values()))
    checklist.end(replaying, note=f"ok={counts['ok']} changed={counts['changed']} failed={counts['failed']}")
    return Outcome(
        url=url,
        token=token,
        servers=servers,
        vms=vms,
        jobs=[ended[job_id] for job_id in job_ids],
        replay=replay,
        recap=recap,
        took_seconds=time.monotonic() - began,
    )


def _initialize(directory: DemoDirectory, checklist: Checklist) -> str:
    """What `jotunheim init` does; returns the administrator's token."""
    item = checklist.begin("Making key, database and administrator")
    settings = directory.settings()
    with drivers_of(settings):
        from jotunheim.bootstrap.store import initialize

    token = initialize(settings, ADMIN, None)
    checklist.end(item, note=str(directory.path))
    return token


def _add_infrastructure(api: Api, sandbox: dict[str, Any], checklist: Checklist) -> int:
    """Tell the service where servers can be; returns the template's id."""
    item = checklist.begin("Adding location, node, template and address pool")
    host, _, port = sandbox["url"].removeprefix("https://").rpartition(":")
    location = api.post("/locations", {"name": "Demo", "short_code": "demo"})["location"]
    node = api.post(
        "/nodes",
        {
            "name": sandbox["nodes"][0],
            "location_id": location["id"],
            "host": host,
            "port": int(port),
            "token_id": sandbox["token_id"],
            "token_secret": sandbox["token_secret"],
            "tls": {"ca_pem": Path(sandbox["ca_pem_file"]).read_text()},
            "vm_storage": sandbox["storages"][0],
        },
    )["node"]
    template = api.post(
        "/templates", {"name": "debian-12", "node_id": node["id"], "vmid": sandbox["template_vmid"]}
    )["template"]
    api.post(
        "/address-pools",
        {
            "name": "demo",
            "family": "ipv4",
            "prefix": NETWORK,
            "gateway": GATEWAY,
            "nameservers": [GATEWAY],
        },
    )
    checklist.end(item, note=f"{node['name']}, template {template['vmid']}, {NETWORK}")
    template_id: int = template["id"]
    return template_id


def _create(api: Api, name: str, template_id: int) -> Document:
    return api.post(
        "/servers",
        {
            "name": name,
            "template_id": template_id,
            "cpu": 2,
            "memory_bytes": 2 * GIB,
            "disk_bytes": 10 * GIB,
            "addresses": {"ipv4": 1},
            "ssh_keys": [_throw_away_key()],
            "labels": {"env": "demo"},
            "tags": ["demo"],
        },
    )


def _throw_away_key() -> str:
    """A public key whose other half nobody keeps."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    public = Ed25519PrivateKey.generate().public_key()
    return public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode() + " demo"


def _write_inventories(directory: DemoDirectory, job_ids: list[str]) -> None:
    """The inventories that the jobs ran with, a file each; secrets stand in them by reference."""
    from jotunheim.repositories.peewee import database
    from jotunheim.repositories.peewee.job_runs import JobRun
    from jotunheim.repositories.peewee.jobs import Job

    database.connect(directory.settings())
    directory.inventories.mkdir()
    for job_id in job_ids:
        run = JobRun.last_of(Job.get_by_id(job_id))
        assert run is not None  # the job has succeeded
        (directory.inventories / f"{job_id}.yml").write_text(run.inventory)
