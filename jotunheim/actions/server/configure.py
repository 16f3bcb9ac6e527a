"""Brings a server's VM to what is recorded, and says of each field when it takes effect."""

from collections.abc import Mapping, Set
from typing import Any

from jotunheim.actions.context import ActionContext
from jotunheim.actions.server.playbook import RESTART, load, read_back, run_playbook, succeed
from jotunheim.ansible import variables
from jotunheim.data.server.status import Power
from jotunheim.exceptions import JotunheimError
from jotunheim.exceptions.repository import UniquenessError
from jotunheim.repositories.peewee.addresses import Address
from jotunheim.repositories.peewee.database import unique
from jotunheim.repositories.peewee.job_steps import JobStep
from jotunheim.repositories.peewee.jobs import Job

PLAYBOOK = "server_configure.yml"
SETTINGS: Mapping[str, tuple[str, ...]] = {
    "name": ("name",),
    "hostname": ("name", "searchdomain"),
    "cpu": ("cores",),
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
}
"""The settings of the VM that each field of a change is made of."""
ALL = frozenset(SETTINGS) - {"disk_bytes"} | {"onboot"}
"""What is asserted when nothing is named. Not a disk's size: whoever grew it on the node is not contradicted."""


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
    fields = set(asked["fields"]) or ALL
    addressed = "addresses" in asked["fields"]  # else the server's may be others by now, when this is a retry
    addresses = (
        Address.by_ids(asked["addresses_after"]) if addressed else Address.of([server]).get(server.id, [])
    )
    given = {
        **variables.pve_config(server, server.node, addresses, fields=fields),
        **variables.pve_restart(asked["restart"]),
        **variables.pve_info(context.settings),
    }
    result = run_playbook(PLAYBOOK, job, server, context, given)
    restart = result.results.get(RESTART, {})
    outcome = {
        "fields": effects(fields, restart.get("waiting", {})),
        "restarted": bool(restart.get("restarted", False)),
    }

    def record() -> None:
        vm = read_back(server, result)
        server.change(disk_bytes=vm["disks"].get(vm["system_disk"]) or server.disk_bytes)
        server.record_power(Power(vm["status"]))
        if addressed:
            Address.keep_only(server, asked["addresses_after"])

    succeed(job, record, outcome)


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


def revert(job: Job, error: JotunheimError) -> None:
    """Record again what was before a change that failed; what was set otherwise meanwhile stays.

    When the VM was configured and only what came after it failed, a restart for one, the records are true as they are.
    A name that another server of the owner has taken meanwhile is not to be had again: the new one stays. So do
    new addresses that the VM may have been told of: nobody else may get them before it is told otherwise.

    Call it within a transaction.
    """
    if JobStep.any_ok(job):
        return
    server = load(job)
    asked = job.parameters
    before = {
        column: value
        for column, value in asked["before"].items()
        if getattr(server, column) == asked["after"][column]
    }
    try:
        with unique("The owner has another server of this name by now."):
            server.change(**before)
    except UniquenessError:
        server.change(**{column: before[column] for column in before.keys() - {"name", "hostname"}})
    if "addresses" in asked["fields"] and not _may_have_reached_vm(job, error):
        Address.keep_only(server, asked["addresses_before"])


def _may_have_reached_vm(job: Job, error: JotunheimError) -> bool:
    """Whether the VM may have got some of a change that failed: growing a disk comes after all else."""
    return error.retryable or "disk_bytes" in job.parameters["fields"]
