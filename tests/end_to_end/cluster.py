"""A cluster of two nodes, both known to one service, with a template on each."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.processes import wait_for
from tests.support.sandbox import Sandbox
from tests.support.service import Service

MIB = 2**20
GIB = 2**30


@dataclass
class Cluster:
    """The sandbox, the service, and ids of what was added."""

    sandbox: Sandbox
    service: Service
    nodes: dict[str, int] = field(default_factory=dict)
    templates: dict[str, int] = field(default_factory=dict)
    group: int = 0

    @classmethod
    @contextmanager
    def start(
        cls, directory: Path, *, worker: bool = True, settings: Mapping[str, str] | None = None
    ) -> Iterator["Cluster"]:
        """Start both; disks are on the storage that the nodes share."""
        state = directory / "state"
        with (
            Sandbox.start(directory, time_scale=0.05, nodes=2) as sandbox,
            Service.start(state, worker=worker, settings=settings) as service,
        ):
            make_template(sandbox, "pve2", 9001)
            cluster = cls(sandbox, service)
            cluster._add_what_nodes_need()
            cluster.add_nodes()
            yield cluster

    def _add_what_nodes_need(self) -> None:
        self.service.ids["location"] = self.service.create("locations", {"name": "Lab", "short_code": "lab"})[
            "location"
        ]["id"]
        self.group = self.service.create(
            "template-groups", {"name": "debian", "minimum_disk_bytes": 2 * GIB}
        )["template_group"]["id"]

    def add_nodes(self, **options: Any) -> None:
        """Add both nodes with their templates; with that they are asked what they have."""
        for name, vmid in (("pve1", 9000), ("pve2", 9001)):
            spec = self.service.node_spec(
                self.sandbox, name=name, vm_storage="shared", labels={"rack": name}, **options
            )
            self.nodes[name] = self.service.create("nodes", spec)["node"]["id"]
            template = {"name": f"debian-{name}", "node_id": self.nodes[name], "vmid": vmid}
            made = self.service.create("templates", {**template, "group_id": self.group})
            self.templates[name] = made["template"]["id"]

    def remove_nodes(self) -> None:
        """Forget the nodes with their templates; no server may be on them."""
        for kind, ids in (("templates", self.templates), ("nodes", self.nodes)):
            for id_ in ids.values():
                self.service.ask(f"{kind}/{id_}", method="DELETE")
            ids.clear()

    def create(self, name: str, **spec: Any) -> dict[str, Any]:
        """POST a server of the group."""
        return self.service.create("servers", {"name": name, "template_group_id": self.group, **spec})

    def built(self, name: str, **spec: Any) -> dict[str, Any]:
        """A server of the group that was created and built."""
        created = self.create(name, **spec)
        job = self.service.finished(created["job"]["id"])
        assert job["status"] == "succeeded", job
        return self.service.server(created["server"]["id"])

    def node(self, name: str) -> dict[str, Any]:
        """A node as the API shows it."""
        found: dict[str, Any] = self.service.read(f"nodes/{self.nodes[name]}")["node"]
        return found

    def sync(self, name: str = "pve1") -> dict[str, Any]:
        """What a sync of a node, which must succeed, led to."""
        result: dict[str, Any] = self.service.done(f"nodes/{self.nodes[name]}/sync")["result"]
        return result

    def set_node(self, name: str, **change: Any) -> None:
        """Change a node behind the service's back."""
        self.sandbox.control.patch(f"/nodes/{name}", json=change).raise_for_status()

    def change_node(self, name: str, **change: Any) -> None:
        """Change what is recorded of a node."""
        self.service.ask(f"nodes/{self.nodes[name]}", change, "PATCH")

    def task(self, method: str, path: str, **params: Any) -> None:
        """Do something on the hypervisor that takes a task, and wait for its end."""
        upid = self.sandbox.do(method, path, **params)
        node = upid.split(":")[1]

        def status() -> Any:
            told = self.sandbox.get(f"/nodes/{node}/tasks/{upid}/status")
            return told if told["status"] == "stopped" else None

        assert wait_for(status, upid)["exitstatus"] == "OK"


def make_template(sandbox: Sandbox, node: str, vmid: int) -> None:
    """Make a template with a disk of 2 GiB on a node."""
    made = sandbox.do(
        "POST",
        f"/nodes/{node}/qemu",
        vmid=vmid,
        name=f"template-{vmid}",
        scsi0="shared:2",
        boot="order=scsi0",
        ide2="shared:cloudinit",
        net0="virtio,bridge=vmbr0",
        agent="1",
        ostype="l26",
        memory=1024,
    )
    wait_for(lambda: sandbox.get(f"/nodes/{node}/tasks/{made}/status")["status"] == "stopped", "the VM")
    sandbox.do("POST", f"/nodes/{node}/qemu/{vmid}/template")
    wait_for(lambda: sandbox.config(vmid, node).get("template"), "the template")
