"""Rebuilding: a new system disk under the same identity."""

from collections.abc import Mapping, Sequence
from typing import Any

from jotunheim.data.account import ADMIN
from jotunheim.data.actor import Actor
from jotunheim.data.job import JobType
from jotunheim.data.node.view import ClientTemplateView
from jotunheim.data.paging import Page, Paged
from jotunheim.data.server.requests import RebuildRequest
from jotunheim.data.server.view import SnapshotView
from jotunheim.exceptions.model import DataValidationError, FieldProblem, all_problems
from jotunheim.exceptions.service import ConflictError
from jotunheim.repositories.peewee.infrastructure import Template
from jotunheim.repositories.peewee.paging import narrowed, paginate
from jotunheim.repositories.peewee.secrets import Keyring
from jotunheim.repositories.peewee.servers import Server
from jotunheim.services import ssh_keys
from jotunheim.services.proxmox import vmids
from jotunheim.services.servers import password, plans
from jotunheim.services.servers.plans import Manner
from jotunheim.services.servers.requests import Asked, assert_free, assert_not_suspended, enqueue
from jotunheim.settings import Settings

FILTERS = {"name": Template.name, "os_family": Template.os_family}
SORTABLE = {"position": Template.position, "id": Template.id, "name": Template.name}


def rebuild(
    server: Server,
    wanted: RebuildRequest,
    existing: Sequence[SnapshotView],
    actor: Actor,
    settings: Settings,
    keyring: Keyring,
    manner: Manner,
) -> Asked:
    """Reserve a VMID for building the new disk aside, and queue the rebuild.

    Args:
        existing: the snapshots that the node has; they hold the old disk and would go.

    Raises:
        LockedError: a job has the server.
        ConflictError: it is not ready or suspended, or it has snapshots and they were not given up.
        DataValidationError: the template does not exist or does not fit, or the owner has no such key.
        PlacementError: no VMID is free.
    """
    assert_free(server)
    assert_not_suspended(server)
    if existing and not wanted.destroy_snapshots:
        raise ConflictError(
            f"The server has {len(existing)} snapshots, and they hold the disk that would go.",
            details=[FieldProblem("destroy_snapshots", "must be true to destroy them with the disk")],
        )
    with all_problems() as collect:
        template = collect(_template, server, wanted.template_id, actor)
        keys = collect(ssh_keys.chosen, server.owner_id, wanted.ssh_keys, wanted.ssh_key_ids, server.ssh_keys)
    scratch_vmid = server.scratch_vmid or _scratch_vmid(manner, settings)
    parameters = {
        "template_id": template.id,
        "scratch_vmid": scratch_vmid,
        "ssh_keys": keys,
        "destroy_snapshots": wanted.destroy_snapshots,
        "snapshots": [snapshot.name for snapshot in existing],
    }
    job = enqueue(server, JobType.REBUILD, actor, parameters, manner)
    if not manner.check:
        server.change(scratch_vmid=scratch_vmid)
    return Asked(server, job, password.keep(server, wanted.password, keyring, check=manner.check))


def _scratch_vmid(manner: Manner, settings: Settings) -> int:
    if manner.planned is None:
        return vmids.reserve(settings)
    with plans.pinned("vmid"):
        return vmids.take(manner.planned["scratch_vmid"])


def list_templates(server: Server, page: Page, wanted: Mapping[str, Any]) -> Paged[ClientTemplateView]:
    """A page of the templates that a server's owner can rebuild it from, and that these filters let through."""
    rows, total = paginate(narrowed(Template.offered_on(server.node), FILTERS, wanted), page, SORTABLE)
    shown = [
        ClientTemplateView(
            id=row.id,
            name=row.name,
            os_family=row.os_family,
            default_user=row.user,
            minimum_disk_bytes=row.least_disk_bytes,
            minimum_memory_bytes=row.least_memory_bytes,
        )
        for row in rows
    ]
    return Paged(shown, page, total)


def _template(server: Server, id_: int | None, actor: Actor) -> Template:
    """What the new disk is made from; of a group the one that is on the server's node."""
    wanted = id_ or server.template_id
    template = Template.with_node(wanted) if wanted else None
    if template is not None and template.node_id != server.node_id and template.group_id is not None:
        there = [other for other in Template.of_group(template.group_id) if other.node_id == server.node_id]
        template = there[0] if there else template
    problem = None
    if wanted is None:
        problem = "must be given: the server was imported, and has no template"
    elif template is None or (id_ is not None and actor.role != ADMIN and not template.is_offered):
        problem = f"there is no template {id_}"
    elif template.node_id != server.node_id:
        problem = f"template {template.id} is on another node than the server"
    elif template.missing_since is not None:
        problem = f"its node has no template {template.id} any more"
    elif (server.disk_bytes or 0) < (template.least_disk_bytes or 0):
        problem = f"needs a disk of {template.least_disk_bytes} bytes, and the server has {server.disk_bytes}"
    elif server.memory_bytes < (template.least_memory_bytes or 0):
        problem = (
            f"needs {template.least_memory_bytes} bytes of memory, and the server has {server.memory_bytes}"
        )
    if problem or template is None:
        raise DataValidationError([FieldProblem("template_id", str(problem))])
    return template
