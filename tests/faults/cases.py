"""One case or more for each kind of job: what is there before, and the request that queues it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.faults.world import Moment, Request, World

GIB = 2**30
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJx0wqEEMq7wLr8XbJ3WYmHyZ8aQ9sYqv3nXhGm0Q4pB"

BY_HAND_VMID = 5001

Servers = Mapping[str, str]
"""Ids of the two servers that are there before each case: `running` and `stopped`."""


@dataclass(frozen=True)
class Case:
    """One way to ask for a kind of job.

    Attributes:
        ask: queues the job and returns its id.
        before: brings about what the job needs; a worker runs meanwhile.
        anew: the kind refuses to be retried by design, so a failed job is asked for again.
    """

    name: str
    type: str
    ask: Callable[[World, Servers], str]
    before: Callable[[World, Servers], None] | None = None
    anew: bool = False


@dataclass(frozen=True)
class Scene:
    """A case, ready to be tried: the moment when its job is queued, and what an undisturbed run does and leaves."""

    case: Case
    job_id: str
    queued: Moment
    requests: tuple[Request, ...]
    wanted: Mapping[str, Any]
    servers: Servers


def _job(answer: Mapping[str, Any]) -> str:
    return str(answer["job"]["id"])


def _on(
    which: str, path: str, body: Mapping[str, Any] | None = None, method: str = "POST"
) -> Callable[[World, Servers], str]:
    """Ask for something of one of the servers."""
    return lambda world, servers: _job(world.service.ask(f"servers/{servers[which]}{path}", body, method))


def _done(*asks: Callable[[World, Servers], str]) -> Callable[[World, Servers], None]:
    """Ask for things in turn and wait for each."""

    def bring_about(world: World, servers: Servers) -> None:
        for ask in asks:
            job = world.finished(ask(world, servers))
            assert job["status"] == "succeeded", job

    return bring_about


def _snapshot(name: str) -> Callable[[World, Servers], str]:
    return _on("running", "/snapshots", {"name": name})


def _of_backup(
    path: str, body: Mapping[str, Any] | None = None, method: str = "POST"
) -> Callable[[World, Servers], str]:
    """Ask for something of the running server's backup."""

    def ask(world: World, servers: Servers) -> str:
        base = f"servers/{servers['running']}/backups"
        [backup] = world.service.read(base)["backups"]
        return _job(world.service.ask(f"{base}/{backup['id']}{path}", body, method))

    return ask


def _build(world: World, servers: Servers) -> str:
    spec = {"disk_bytes": 5 * GIB, "password": "some-Passw0rd", "ssh_keys": [KEY], "addresses": {"ipv4": 2}}
    return _job(world.service.create_server("new", **spec))


def _build_from_kept(world: World, servers: Servers) -> str:
    [backup] = world.service.read("backups?kept=true")["backups"]
    spec = {"backup_id": backup["id"], "disk_bytes": 6 * GIB, "ssh_keys": [KEY], "addresses": {"ipv4": 2}}
    return _job(world.service.ask("servers", {"name": "new", "password": "some-Passw0rd", **spec}))


def _make_vm(world: World, servers: Servers) -> None:
    """A VM of somebody else, with an address of the pool."""
    vm = {
        "vmid": BY_HAND_VMID,
        "name": "by-hand",
        "scsi0": "vmstore:1",
        "description": "By hand",
        "smbios1": "uuid=5f0c2a54-6d0c-4b5e-9d55-0f4f1f1f7a77",
        "ipconfig0": "ip=10.99.1.150/24",
    }
    world.sandbox.api.post("/nodes/pve1/qemu", data=vm).raise_for_status()
    world.settle()


def _import(world: World, servers: Servers) -> str:
    asked = {"node_id": world.service.ids["node"], "vmid": BY_HAND_VMID, "confirm": True}
    return _job(world.service.ask("servers/import", asked))


def _sync(world: World, servers: Servers) -> str:
    return _job(world.service.ask(f"nodes/{world.service.ids['node']}/sync"))


def _orphan(world: World, servers: Servers) -> None:
    """A VM that is marked for a server of another Jotunheim, found by a scan."""
    vm = {
        "vmid": BY_HAND_VMID,
        "name": "orphan",
        "scsi0": "vmstore:1",
        "description": "jotunheim:server=5f0c2a54-6d0c-4b5e-9d55-0f4f1f1f7a77",
        "smbios1": "uuid=5f0c2a54-6d0c-4b5e-9d55-0f4f1f1f7a77",
    }
    world.sandbox.api.post("/nodes/pve1/qemu", data=vm).raise_for_status()
    world.settle()
    world.sandbox.do("POST", f"/nodes/pve1/qemu/{BY_HAND_VMID}/status/start")
    world.settle()
    _done(_scan)(world, servers)


def _orphaned_backup(world: World, servers: Servers) -> None:
    """A backup that is marked as one of another Jotunheim, found by a scan."""
    vmid = world.service.server(servers["stopped"])["vmid"]
    mark = "jotunheim:backup=5f0c2a54-6d0c-4b5e-9d55-0f4f1f1f7a77"
    made = {"vmid": vmid, "storage": "local", "mode": "snapshot", "notes-template": mark}
    world.sandbox.api.post("/nodes/pve1/vzdump", data=made).raise_for_status()
    world.settle()
    _done(_scan)(world, servers)


def _scan(world: World, servers: Servers) -> str:
    return _job(world.service.ask(f"nodes/{world.service.ids['node']}/scan"))


def _prune(world: World, servers: Servers) -> str:
    [orphan] = world.service.read("orphans")["orphans"]
    return _job(world.service.ask(f"orphans/{orphan['id']}/prune", {"despite": orphan["cautions"]}))


def _back_up(world: World, servers: Servers) -> None:
    """Give the running server a snapshot and a backup."""
    _done(_snapshot("held"))(world, servers)
    vmid = world.service.server(servers["running"])["vmid"]
    backup = {"vmid": vmid, "storage": "local", "mode": "snapshot"}
    world.sandbox.api.post("/nodes/pve1/vzdump", data=backup).raise_for_status()
    world.settle()


MOUNT = {"name": "rescue.iso", "restart": "if_needed"}


def _upload_images(world: World, servers: Servers) -> None:
    """Put an image on the node's storage."""
    world.sandbox.upload_image("rescue.iso")
    world.settle()


def _mount_image(world: World, servers: Servers) -> None:
    _upload_images(world, servers)
    _done(_on("running", "/iso", MOUNT))(world, servers)


CHANGE = {
    "name": "renamed",
    "cpu": 3,
    "memory_bytes": 3 * GIB,
    "disk_bytes": 7 * GIB,
    "tags": ["blue"],
    "addresses": {"ipv4": 2},
    "restart": "if_needed",
}

SSH = {"direction": "in", "action": "ACCEPT", "protocol": "tcp", "destination_port": "22"}

FOR_THE_GUEST = {"addresses": {"ipv4": 2}, "hostname": "renamed.example.com", "restart": "if_needed"}
"""What Proxmox VE does not tell whether the guest has it."""

OPEN_WALL = {"enabled": True, "rules": [SSH, {"direction": "out", "action": "DROP", "macro": "SMTP"}]}
STRICT_WALL = {
    "enabled": True,
    "policy_in": "DROP",
    "rules": [{"direction": "in", "action": "DROP", "source": "192.0.2.0/24"}, SSH],
}

CASES = (
    Case("build", "server.build", _build),
    Case(
        "build from a backup",
        "server.build",
        _build_from_kept,
        _done(_on("running", "/backups"), _on("running", "", None, "DELETE")),
    ),
    Case("configure", "server.configure", _on("running", "", CHANGE, "PATCH")),
    Case("configure, guest", "server.configure", _on("running", "", FOR_THE_GUEST, "PATCH")),
    Case("configure, as recorded", "server.configure", _on("stopped", "/configure")),
    Case("mount an image", "server.configure", _on("running", "/iso", MOUNT), _upload_images),
    Case("unmount an image", "server.configure", _on("running", "/iso", None, "DELETE"), _mount_image),
    Case("import", "server.import", _import, _make_vm, anew=True),
    Case(
        "firewall",
        "server.firewall",
        _on("running", "/firewall", STRICT_WALL, "PUT"),
        _done(_on("running", "/firewall", OPEN_WALL, "PUT")),
    ),
    Case("sync", "node.sync", _sync),
    Case("scan", "node.scan", _scan, _orphan),
    Case("prune a VM", "orphan.prune", _prune, _orphan),
    Case("prune a backup", "orphan.prune", _prune, _orphaned_backup),
    Case("look for drift", "node.drift", _on("running", "/drift/check")),
    Case("delete, running", "server.delete", _on("running", "", {"backups": "delete"}, "DELETE"), _back_up),
    Case("delete, stopped", "server.delete", _on("stopped", "", None, "DELETE")),
    Case("password, now", "server.password", _on("running", "/password"), anew=True),
    Case("password, at next boot", "server.password", _on("stopped", "/password"), anew=True),
    Case("start", "server.power", _on("stopped", "/power", {"action": "start"})),
    Case("shutdown", "server.power", _on("running", "/power", {"action": "shutdown"})),
    Case("stop", "server.power", _on("running", "/power", {"action": "stop"})),
    Case("reboot", "server.power", _on("running", "/power", {"action": "reboot"})),
    Case("reset", "server.power", _on("running", "/power", {"action": "reset"})),
    Case(
        "rebuild",
        "server.rebuild",
        _on("running", "/rebuild", {"destroy_snapshots": True}),
        _done(_snapshot("first"), _snapshot("second")),
    ),
    Case("suspend", "server.suspend", _on("running", "/suspend", {"reason": "unpaid"})),
    Case(
        "unsuspend",
        "server.unsuspend",
        _on("running", "/unsuspend"),
        _done(_on("running", "/suspend", {"reason": "unpaid"})),
    ),
    Case(
        "snapshot",
        "snapshot.create",
        _on("running", "/snapshots", {"name": "kept", "description": "as it was", "with_memory": True}),
    ),
    Case(
        "rollback",
        "snapshot.rollback",
        _on("running", "/snapshots/kept/rollback"),
        _done(_snapshot("kept"), _on("running", "", CHANGE, "PATCH")),
    ),
    Case("backup", "backup.create", _on("running", "/backups", {"notes": "as it was", "mode": "stop"})),
    Case(
        "restore",
        "backup.restore",
        _of_backup("/restore", {"stop": True, "destroy_snapshots": True}),
        _done(_on("running", "/backups"), _snapshot("held"), _on("running", "", CHANGE, "PATCH")),
    ),
    Case("lock a backup", "backup.lock", _of_backup("/lock"), _done(_on("running", "/backups"))),
    Case(
        "unlock a backup",
        "backup.unlock",
        _of_backup("/lock", method="DELETE"),
        _done(_on("running", "/backups"), _of_backup("/lock")),
    ),
    Case(
        "delete a backup", "backup.delete", _of_backup("", method="DELETE"), _done(_on("running", "/backups"))
    ),
    Case(
        "delete a snapshot",
        "snapshot.delete",
        _on("running", "/snapshots/kept", None, "DELETE"),
        _done(_snapshot("kept")),
    ),
)


class Stage:
    """Prepares cases, each once."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._first: tuple[Moment, Servers] | None = None
        self._scenes: dict[str, Scene] = {}

    def scene(self, case: Case) -> Scene:
        """A case with its job queued and no worker at it, and what a run of it does and leaves."""
        if case.name not in self._scenes:
            self._scenes[case.name] = self._prepare(case)
        return self._scenes[case.name]

    def _prepare(self, case: Case) -> Scene:
        world = self.world
        first, servers = self._servers()
        world.bring_back(first)
        if case.before is not None:
            world.work()
            case.before(world, servers)
        world.rest()
        job_id = case.ask(world, servers)
        queued = world.keep(f"scene-{len(self._scenes)}")
        world.bring_back(queued)
        world.work()
        job = world.finished(job_id)
        assert job["status"] == "succeeded", job
        assert job["type"] == case.type, job
        assert world.troubles() == []
        return Scene(case, job_id, queued, tuple(world.requests()), world.picture(queued), servers)

    def _servers(self) -> tuple[Moment, Servers]:
        if self._first is None:
            self.world.work()
            servers = {
                name: self.world.service.built(
                    name, disk_bytes=5 * GIB, addresses={"ipv4": 1}, start=name == "running"
                )["id"]
                for name in ("running", "stopped")
            }
            self.world.rest()
            self._first = self.world.keep("first"), servers
        return self._first
