"""One sandbox for the tests of the sandbox: quick, and set back before each test."""

from collections.abc import Iterator

import pytest

from tests.sandbox.requests import Pve
from tests.support.guests import SshClient, require_guests
from tests.support.sandbox import Sandbox


@pytest.fixture(scope="session")
def shared_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox with one node, at time scale 0."""
    with Sandbox.start(tmp_path_factory.mktemp("sandbox-tests"), time_scale=0) as started:
        yield started


@pytest.fixture
def pve(shared_sandbox: Sandbox) -> Pve:
    """The shared sandbox in its first state, at time scale 0."""
    shared_sandbox.control.post("/reset").raise_for_status()
    shared_sandbox.control.patch("/settings", json={"time_scale": 0}).raise_for_status()
    return Pve(shared_sandbox)


@pytest.fixture
def backup_server(pve: Pve) -> Iterator[Pve]:
    """The shared sandbox with the storage `pbs` of a Proxmox Backup Server, and VM 600."""
    pve.control.post("/reset", json={"pbs": ["pbs"]}).raise_for_status()
    pve.clone(600, name="web")
    yield pve
    pve.control.post("/reset", json={"pbs": [], "nodes": 1}).raise_for_status()


@pytest.fixture(scope="session")
def guest_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox whose VMs have real guests, at time scale 0."""
    require_guests()
    folder = tmp_path_factory.mktemp("sandbox-guests")
    with Sandbox.start(folder, time_scale=0, guests="process") as started:
        yield started


@pytest.fixture
def guests(guest_sandbox: Sandbox) -> Pve:
    """The sandbox with guests in its first state, at time scale 0."""
    guest_sandbox.control.post("/reset").raise_for_status()
    guest_sandbox.control.patch("/settings", json={"time_scale": 0}).raise_for_status()
    return Pve(guest_sandbox)


@pytest.fixture(scope="session")
def ssh(tmp_path_factory: pytest.TempPathFactory) -> SshClient:
    """An ssh client with a key."""
    return SshClient.make(tmp_path_factory.mktemp("ssh"))
