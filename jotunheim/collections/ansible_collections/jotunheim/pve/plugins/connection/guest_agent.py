"""Connection plugin: modules run inside a guest through its agent, over the Proxmox VE API."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ansible.errors import AnsibleConnectionFailure, AnsibleError, AnsibleFileNotFound
from ansible.plugins.connection import ConnectionBase
from ansible.utils.display import Display
from ansible_collections.jotunheim.pve.plugins.plugin_utils import guest_files
from ansible_collections.jotunheim.pve.plugins.plugin_utils.common import journal_of, message_of
from ansible_collections.jotunheim.pve.plugins.plugin_utils.guest_calls import GuestCalls, require_agent
from ansible_collections.jotunheim.pve.plugins.plugin_utils.guest_commands import GuestCommands
from ansible_collections.jotunheim.pve.plugins.plugin_utils.target import VARIABLES, read_target
from ansible_collections.jotunheim.pve.plugins.plugin_utils.vm import Vm

from jotunheim.exceptions import JotunheimError
from jotunheim.exceptions.repository import GuestRefusedError, GuestTimeoutError
from jotunheim.lifeline import die_with_parent
from jotunheim.repositories.proxmox import ProxmoxClient

DOCUMENTATION = """
name: guest_agent
author:
  - The Jotunheim developers
short_description: Run modules inside a guest through the QEMU guest agent
description:
  - Commands and files go through the API of Proxmox VE to the agent in the guest. There need be no network path to the guest, and
    no SSH in it.
  - The agent runs everything as root. Become another user with C(become), which needs no password.
  - A command runs at most once. When an answer of the node is lost, or the agent starts anew, the result is asked for again; when
    there is none any more the host is unreachable, with an error that says so.
  - Only the VM that carries C(pve_uuid) is talked to.
  - The guest needs Linux with a POSIX shell, coreutils or busybox, gzip, setsid, and Python for modules. Limits stand in
    C(docs/guest-agent.md).
  - Neither commands nor data are printed, whatever the verbosity.
options:
  pve_api_host:
    description: Host name or address of the node's API.
    type: str
    required: true
    vars: [{name: pve_api_host}]
  pve_api_port:
    description: Its port.
    type: int
    default: 8006
    vars: [{name: pve_api_port}]
  pve_api_token_id:
    description: The API token, C(user@realm!name). It needs C(VM.Audit) and C(VM.Monitor) on the VM.
    type: str
    required: true
    vars: [{name: pve_api_token_id}]
  pve_api_token_secret:
    description: Its secret. Name it with the lookup P(jotunheim.pve.secret#lookup).
    type: str
    required: true
    vars: [{name: pve_api_token_secret}]
  pve_api_ca_pem:
    description: Certificates (PEM) of the only authorities that are trusted; those of the system if not set.
    type: str
    vars: [{name: pve_api_ca_pem}]
  pve_api_fingerprint:
    description: SHA-256 of the one certificate that is accepted.
    type: str
    vars: [{name: pve_api_fingerprint}]
  pve_api_connect_timeout_seconds:
    description: Until TCP and TLS stand.
    type: float
    default: 5
    vars: [{name: pve_api_connect_timeout_seconds}]
  pve_api_read_timeout_seconds:
    description: Between two pieces of an answer.
    type: float
    default: 30
    vars: [{name: pve_api_read_timeout_seconds}]
  pve_node:
    description: Name of the node in Proxmox VE.
    type: str
    required: true
    vars: [{name: pve_node}]
  pve_vmid:
    description: The VM.
    type: int
    required: true
    vars: [{name: pve_vmid}]
  pve_uuid:
    description: The UUID of the server, which the VM must carry.
    type: str
    required: true
    vars: [{name: pve_uuid}]
  pve_identified:
    description: Whether the VM must carry it as its SMBIOS UUID; a mark in its notes is not enough then.
    type: bool
    default: false
    vars: [{name: pve_identified}]
  agent_timeout_seconds:
    description: How long a silent agent is waited for, for example while the guest boots or the agent starts anew.
    type: float
    default: 60
    vars: [{name: pve_agent_timeout_seconds}]
  command_timeout_seconds:
    description: How long one command may take, a module for example. It is then ended in the guest. 0 is no limit.
    type: float
    default: 3600
    vars: [{name: pve_agent_command_timeout_seconds}]
  host:
    description: The host's name in the inventory.
    type: str
    vars: [{name: inventory_hostname}]
  pipelining:
    description: Hand a module to its interpreter instead of writing it to a file first. Saves requests.
    type: bool
    default: true
    env: [{name: ANSIBLE_PIPELINING}]
    ini:
      - {section: connection, key: pipelining}
      - {section: defaults, key: pipelining}
    vars: [{name: ansible_pipelining}]
"""

EXAMPLES = """
# In an inventory, beside the variables that the plugins of this collection need:
servers:
  vars:
    ansible_connection: jotunheim.pve.guest_agent
"""

display = Display()


class Connection(ConnectionBase):  # type: ignore[misc]  # ansible publishes no types
    """One VM's guest, as root."""

    transport = "jotunheim.pve.guest_agent"
    has_pipelining = True
    default_user = "root"

    _client: ProxmoxClient | None = None
    _guest: GuestCommands | None = None

    def _connect(self) -> Connection:
        if self._guest is None:
            die_with_parent()
            with _typed():
                self._open()
            self._connected = True
        return self

    def exec_command(
        self, cmd: str, in_data: bytes | None = None, sudoable: bool = True
    ) -> tuple[int, bytes, bytes]:
        """Run a command; its exit code, output and error output."""
        super().exec_command(cmd, in_data=in_data, sudoable=sudoable)
        display.vvv(
            f"EXEC {len(cmd)} characters, input {len(in_data or b'')} bytes", host=self.get_option("host")
        )
        with _typed():
            return self._commands.run(cmd, in_data)

    def put_file(self, in_path: str, out_path: str) -> None:
        """Write a file of the guest."""
        super().put_file(in_path, out_path)
        display.vvv(f"PUT {in_path} TO {out_path}", host=self.get_option("host"))
        if not Path(in_path).exists():
            raise AnsibleFileNotFound(f"There is no file {in_path}.")
        with _typed(), Path(in_path).open("rb") as source:
            guest_files.put(self._commands, source, out_path)

    def fetch_file(self, in_path: str, out_path: str) -> None:
        """Read a file of the guest."""
        super().fetch_file(in_path, out_path)
        display.vvv(f"FETCH {in_path} TO {out_path}", host=self.get_option("host"))
        part = Path(f"{out_path}.part")
        try:
            with _typed(), part.open("wb") as target:
                guest_files.fetch(self._commands, in_path, target)
            part.replace(out_path)
        finally:
            part.unlink(missing_ok=True)

    def reset(self) -> None:
        """Begin anew: the VM is looked at again."""
        self.close()

    def close(self) -> None:
        """Remove what commands left in the guest, and end the session."""
        if self._guest is not None:
            self._guest.close()
        if self._client is not None:
            self._client.__exit__(None, None, None)
        self._client = self._guest = None
        self._connected = False

    @property
    def _commands(self) -> GuestCommands:
        assert self._guest is not None  # connected by Ansible's decorator
        return self._guest

    def _open(self) -> None:
        target = read_target({name: self.get_option(name) for name in VARIABLES})
        self._client = ProxmoxClient(target.endpoint, journal_of(str(self.get_option("host"))))
        vm = Vm(self._client, target)
        require_agent(vm, vm.owned_config())
        calls = GuestCalls(vm, self.get_option("agent_timeout_seconds"))
        self._guest = GuestCommands(calls, self.get_option("command_timeout_seconds"))


@contextmanager
def _typed() -> Iterator[None]:
    """Our errors as Ansible's: the task has failed, or the host is unreachable."""
    try:
        yield
    except JotunheimError as error:
        failed = isinstance(error, GuestRefusedError | GuestTimeoutError)
        message = " ".join(filter(None, [message_of(error), error.hint]))
        raise (AnsibleError if failed else AnsibleConnectionFailure)(message) from None
