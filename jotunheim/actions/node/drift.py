"""Compares the VMs of several servers with what is recorded of them: one run in check mode, one host each."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from jotunheim.actions.context import ActionContext
from jotunheim.ansible import runner
from jotunheim.ansible.asserted import asserted
from jotunheim.ansible.recorded import variables_of
from jotunheim.exceptions.service import ServerDeploymentError
from jotunheim.repositories.peewee.addresses import Address
from jotunheim.repositories.peewee.database import now
from jotunheim.repositories.peewee.drifts import Compared
from jotunheim.repositories.peewee.firewalls import ServerRuleset
from jotunheim.repositories.peewee.infrastructure import Node
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.repositories.peewee.servers import Server

PLAYBOOK = "server_drift.yml"
DRIFT = "jotunheim.pve.vm_drift"


def compare(job: Job, context: ActionContext, node: Node, servers: Sequence[Server]) -> list[Compared]:
    """Look at the VMs of servers, as they are recorded in these rows. One that cannot be looked at does not keep the others back.

    Raises:
        ServerDeploymentError: the run was stopped.
    """
    asked_at = now()
    addresses, rules = Address.of(servers), ServerRuleset.rules_of(servers)
    hosts = {
        server.id: runner.Host(
            name=f"server-{server.id}",  # two owners may have servers of one name
            job_id=str(job.id),
            fence=job.fence,
            variables=variables_of(
                server,
                node,
                addresses.get(server.id, []),
                rules.get(server.id, []),
                context.settings,
                fields=asserted(server) | {"disk_bytes"},
            ),
            secrets=context.secrets_of(node),
        )
        for server in servers
    }
    result = runner.run(
        runner.Run(
            playbook=PLAYBOOK,
            hosts=list(hosts.values()),
            directory=context.settings.runs_dir / f"{job.id}.{job.fence}.{uuid.uuid4().hex[:8]}",
            timeout_seconds=context.settings.job_timeout_seconds,
            on_event=lambda _: None,
            is_cancelled=lambda: context.interrupted,
            environment=context.run_environment,
            check=True,
            checks_arguments=False,
        )
    )
    if context.interrupted:
        raise ServerDeploymentError("ansible_failed", "The run was stopped before it had finished.")
    return [_compared(server, hosts[server.id].name, result, asked_at) for server in servers]


def _compared(server: Server, host: str, result: runner.RunResult, asked_at: Any) -> Compared:
    found = result.hosts[host]
    told: Mapping[str, Any] | None = None if found.failure else found.results.get(DRIFT)
    if told is None:
        return Compared(server, asked_at, error=_error(host, result))
    diff = told.get("diff")
    return Compared(server, asked_at, told["drift"], [diff] if diff else [])


def _error(host: str, result: runner.RunResult) -> ServerDeploymentError:
    """Why nothing was told of a host: its own failure, or else the run's."""
    try:
        result.of(host)
    except ServerDeploymentError as error:
        return error
    return ServerDeploymentError("ansible_failed", "Ansible ended without having looked at this server.")
