"""A sandbox with real guests, and one server in it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from jotunheim.ansible.warm import WarmAnsible
from jotunheim.repositories.proxmox import Endpoint, ProxmoxClient, TlsPolicy
from tests.collection.conftest import COLLECTIONS
from tests.playbooks import pve_playbooks
from tests.sandbox.guest import GuestVm
from tests.sandbox.requests import Pve
from tests.support.guests import require_guests
from tests.support.sandbox import Sandbox

assert COLLECTIONS.is_dir()  # importing its conftest made the collection importable

from ansible_collections.jotunheim.pve.plugins.plugin_utils.guest_calls import GuestCalls  # noqa: E402
from ansible_collections.jotunheim.pve.plugins.plugin_utils.guest_commands import GuestCommands  # noqa: E402
from ansible_collections.jotunheim.pve.plugins.plugin_utils.target import Target  # noqa: E402
from ansible_collections.jotunheim.pve.plugins.plugin_utils.vm import Vm  # noqa: E402

VMID = 1101
UUID = "00000000-0000-0000-0000-000000000001"
PATIENCE_SECONDS = 20


class Server:
    """A running server of ours, its guest, and ways to disturb them."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.guest = GuestVm.started(
            Pve(sandbox), VMID, name="web-1", smbios1=f"uuid={UUID}", agent="1", ostype="l26"
        )
        url = urlsplit(sandbox.ready["url"])
        self.endpoint = Endpoint(
            str(url.hostname),
            sandbox.token_id,
            sandbox.token_secret,
            port=int(url.port or 0),
            tls=TlsPolicy(fingerprint=sandbox.fingerprint),
        )

    def vm(self) -> Vm:
        return Vm(ProxmoxClient(self.endpoint), Target(self.endpoint, "pve1", VMID, UUID))

    def commands(
        self, *, patience: float = PATIENCE_SECONDS, command_seconds: float = PATIENCE_SECONDS
    ) -> GuestCommands:
        return GuestCommands(GuestCalls(self.vm(), patience), command_seconds)

    def fault(self, call: str, **fault: Any) -> None:
        """A fault of the agent's next call."""
        path = f"/qemu/{VMID}/agent/{call}$"
        self.sandbox.control.post("/faults", json={"path": path, **fault}).raise_for_status()

    def change(self, **fields: Any) -> None:
        self.sandbox.control.patch(f"/vms/{VMID}", json=fields).raise_for_status()


@pytest.fixture(scope="package")
def guest_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    require_guests()
    folder = tmp_path_factory.mktemp("guest-agent")
    with Sandbox.start(folder, time_scale=0, guests="process") as started:
        yield started


@pytest.fixture(scope="package")
def only_server(guest_sandbox: Sandbox) -> Server:
    return Server(guest_sandbox)


@pytest.fixture
def server(only_server: Server) -> Iterator[Server]:
    yield only_server
    only_server.sandbox.control.delete("/faults").raise_for_status()


@pytest.fixture
def commands(server: Server) -> Iterator[GuestCommands]:
    opened = server.commands()
    yield opened
    opened.close()


@pytest.fixture(scope="package")
def warm_ansible() -> Iterator[WarmAnsible]:
    """A loaded Ansible, as the service has it."""
    warm = WarmAnsible(pve_playbooks.ENVIRONMENT)
    warm.start()
    yield warm
    warm.close()


@pytest.fixture
def playbooks(server: Server, tmp_path: Path, warm_ansible: WarmAnsible) -> pve_playbooks.Playbooks:
    """Playbooks against the sandbox, in a loaded Ansible."""
    return pve_playbooks.Playbooks(pve_playbooks.Sandbox(server.sandbox.ready), tmp_path, warm_ansible)
