"""Brings a server's VM to what is recorded, and says of each field when it takes effect."""

from collections.abc import Mapping, Sequence, Set
from typing import Any

from jotunheim.actions.context import ActionContext
from jotunheim.actions.server import firewall
from jotunheim.actions.server.firewall import Rendered
from jotunheim.actions.server.playbook import RESTART, load, read_back, run_playbook, succeed
from jotunheim.ansible import runner, variables
from jotunheim.ansible.asserted import asserted
from jotunheim.data.server.status import Power
from jotunheim.repositories.peewee.addresses import Address
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.repositories.peewee.servers import Server

PLAYBOOK = "server_configure.yml"
SETTINGS: Mapping[str, tuple[str, ...]] = {
    "name": ("name",),
    "hostname": ("name", "searchdomain"),
    "cpu": ("cores", "sockets"),
    "memory_bytes": ("memory",),
    "disk_bytes": (),
    "addresses": ("ipconfig0", "nameserver", "net0"),
    "ssh_keys": ("sshkeys",),
    "tags": ("tags",),
    "description": ("description",),
    "network": ("net0",),
    "cloud_init": ("ciuser", "nameserver", "searchdomain"),
    "boot_order": ("boot",),
    "agent": ("agent",),
    "iso": tuple(
        f"{bus}{number}" for bus, count in (("ide", 4), ("sata", 6), ("scsi", 31)) for number in range(count)
    ),
    "anti_spoofing": ("net0",),
}
"""The settings of the VM that each field of a change is made of."""
SETS_RATE = frozenset({"rate", "network", "addresses"})
"""Fields with which the rate of the network device is set."""


def configure(job: Job, context: ActionContext) -> None:
    """Run the playbook for a claimed job; at the end the VM is configured as recorded.

    Result: `{"fields": {"memory_bytes": "applied" | "pending" | "needs_restart"}, "restarted": false}`.
    `pending`: Proxmox VE holds the change back until a restart. `needs_restart`: the VM has it, the guest sees it
    only then.

    Raises:
        ServerDeploymentError: the run failed.
        LeaseLostError: the job belongs to another worker now.
    """
    server = load(job)
    asked = job.parameters
    for column, value in asked["after"].items():  # a preview's is not in the row
        setattr(server, column, value)
    fields = set(asked["fields"]) or asserted(server)
    addressed = "addresses" in asked["fields"]  # else the server's may be others by now, when this is a retry
    addresses = (
        Address.by_ids(asked["addresses_after"]) if addressed else Address.of([server]).get(server.id, [])
    )
    rendered = firewall.render(server, addresses, fields=fields)
    result = apply(job, context, server, fields, addresses, restart=asked["restart"], rendered=rendered)
    restart = result.results.get(RESTART, {})
    outcome = {
        "fields": effects(fields, restart.get("waiting", {})),
        "restarted": bool(restart.get("restarted", False)),
    }

    kept = asked["addresses_after"] if addressed else None

    def record_all() -> None:
        record(server, result, kept)
        rendered.record(server)
        if fields & SETS_RATE:
            server.note_throttle(server.throttle_bytes_per_second)

    succeed(job, record_all, outcome)


def record(server: Server, result: runner.HostResult, addresses: Sequence[int] | None) -> None:
    """Write down what was read back after the playbook.

    Args:
        addresses: ids of those that the server keeps; None: as it has them.
    """
    vm = read_back(server, result)
    server.change(disk_bytes=vm["disks"].get(vm["system_disk"]) or server.disk_bytes)
    server.record_power(Power(vm["status"]))
    if addresses is not None:
        Address.keep_only(server, addresses)


def apply(
    job: Job,
    context: ActionContext,
    server: Server,
    fields: Set[str],
    addresses: list[Address],
    *,
    restart: str,
    rendered: Rendered | None = None,
) -> runner.HostResult:
    """Run the playbook for these fields of a server, as this object has them. Raises as `configure` does.

    Args:
        rendered: its firewall; None: as this object has it.
    """
    rendered = rendered or firewall.render(server, addresses, fields=fields)
    given = {
        **rendered.variables,
        **variables.delegated_prefixes(addresses),
        **variables.pve_config(server, server.node, addresses, fields=fields),
        **variables.pve_restart(restart),
        **variables.pve_info(context.settings),
    }
    return run_playbook(PLAYBOOK, job, server, context, given)


def effects(fields: Set[str], waiting: Mapping[str, Any]) -> dict[str, str]:
    """For each field whether it is applied, pending or needs a restart.

    Args:
        waiting: settings of the VM that wait for a restart, `pending` or `needs_restart`.
    """
    found = {}
    for field in sorted(SETTINGS.keys() & fields):
        states = {waiting[setting] for setting in SETTINGS[field] if setting in waiting}
        found[field] = next((state for state in ("pending", "needs_restart") if state in states), "applied")
    return found
