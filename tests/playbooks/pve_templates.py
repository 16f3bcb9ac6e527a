"""Templates that are built from images: the images, runs of the playbook, and what must be there afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.playbooks.pve_playbooks import Playbooks, Run, Sandbox, Unsafe
from tests.support.images import ImageServer, image_server, qcow2, sha256

GIB = 1024**3
IMAGE = qcow2(2 * GIB)
NEWER = qcow2(2 * GIB, seed=1)


@contextmanager
def served_images() -> Iterator[ImageServer]:
    """A web server that has both images."""
    with image_server() as served:
        served.serve("/debian-12.img", IMAGE)
        served.serve("/newer.qcow2", NEWER)
        yield served


class Builds:
    """Runs of the playbook for one template."""

    def __init__(self, playbooks: Playbooks, web: ImageServer) -> None:
        self.playbooks = playbooks
        self.image: dict[str, Any] = {
            "pve_template_url": Unsafe(f"{web.url}/debian-12.img"),
            "pve_template_checksum": Unsafe(sha256(IMAGE)),
        }
        self.newer: dict[str, Any] = {
            "pve_template_url": Unsafe(f"{web.url}/newer.qcow2"),
            "pve_template_checksum": Unsafe(sha256(NEWER)),
        }

    def inventory(self, **changes: Any) -> Path:
        return self.playbooks.inventory(
            "templates", debian=self.playbooks.template(**{**self.image, **changes})
        )

    def run(self, *arguments: str, **changes: Any) -> Run:
        return self.playbooks.run("template_build.yml", self.inventory(**changes), "--diff", *arguments)

    def together(self, *arguments: str, **hosts: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """The last result of each host, for several of them with changes of their own, in one run."""
        variables = {
            name: self.playbooks.template(**{**self.image, **changes}) for name, changes in hosts.items()
        }
        inventory = self.playbooks.inventory("templates", **variables)
        run = self.playbooks.run("template_build.yml", inventory, "--diff", "--forks", "4", *arguments)
        assert "Traceback" not in run.output
        return run.by_host()

    def ok(self, *arguments: str, **changes: Any) -> Run:
        run = self.run(*arguments, **changes)
        assert run.code == 0, run.output
        return run


def images(sandbox: Sandbox) -> list[str]:
    """The files on `local` that were not there at first."""
    with sandbox.client() as pve:
        found = [str(entry["volid"]) for entry in pve.get("nodes/pve1/storage/local/content")]
    return [volid for volid in found if "genericcloud-local" not in volid]


def disks(sandbox: Sandbox, vmid: int = 9101) -> list[str]:
    """The volumes of a VM."""
    with sandbox.client() as pve:
        return sorted(entry["volid"] for entry in pve.get("nodes/pve1/storage/vmstore/content", vmid=vmid))


def made_once(sandbox: Sandbox, *, disk: str = "size=2G") -> None:
    """There is the one template, and nothing of earlier attempts."""
    assert set(sandbox.vms()) == {9000, 9101}
    config = sandbox.vm(9101)["config"]
    assert (config["template"], config["scsi0"]) == (1, f"vmstore:9101/base-9101-disk-0.qcow2,{disk}")
    assert disks(sandbox) == ["vmstore:9101/base-9101-disk-0.qcow2", "vmstore:9101/vm-9101-cloudinit.qcow2"]
    assert images(sandbox) == [f"local:import/debian-12-{sha256(IMAGE)[:12]}.qcow2"]
