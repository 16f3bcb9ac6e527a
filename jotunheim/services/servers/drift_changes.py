"""What a person does about drift: sees it, takes over what was found, or has the VM brought to what is recorded."""

from collections.abc import Mapping, Sequence
from typing import Any

from jotunheim.data.actor import Actor
from jotunheim.data.paging import Page, Paged
from jotunheim.data.server.change import ServerChange
from jotunheim.data.server.drift import (
    AcceptRequest,
    Difference,
    DriftError,
    DriftStatus,
    DriftView,
    ReconcileRequest,
)
from jotunheim.data.server.view import NodeSummary
from jotunheim.exceptions.model import DataValidationError, FieldProblem
from jotunheim.exceptions.service import ConflictError, PreconditionFailedError
from jotunheim.repositories.peewee.drifts import Drift
from jotunheim.repositories.peewee.paging import narrowed, paginate
from jotunheim.repositories.peewee.secrets import Keyring
from jotunheim.repositories.peewee.servers import Server
from jotunheim.repositories.proxmox import reads
from jotunheim.services.nodes.nodes import endpoint
from jotunheim.services.servers import configure, differences, live
from jotunheim.services.servers.plans import Manner
from jotunheim.services.servers.requests import Asked, assert_free
from jotunheim.settings import Settings

FILTERS = {
    "status": Drift.status,
    "server_id": Drift.server,
    "owner_id": Server.owner,
    "node_id": Server.node,
}
SORTABLE = {
    "server_name": Server.name,
    "checked_at": Drift.checked_at,
    "found_at": Drift.found_at,
    "status": Drift.status,
}
_AGAIN = "Look at it again: POST …/drift/check."


def list_drift(page: Page, wanted: Mapping[str, Any]) -> Paged[DriftView]:
    """A page of the drift of all servers that were ever looked at, as these filters let through."""
    rows, total = paginate(narrowed(Drift.with_servers(), FILTERS, wanted), page, SORTABLE)
    return Paged([view(row) for row in rows], page, total)


def find(server: Server) -> Drift:
    """A server's drift; unknown as long as its VM was never looked at."""
    return Drift.of(server) or Drift(server=server, checked_at=None)


def view(row: Drift) -> DriftView:
    """A server's drift as the API shows it."""
    server = row.server
    return DriftView(
        server_id=server.id,
        server_name=server.name,
        owner_id=server.owner_id,
        node=NodeSummary(id=server.node.id, name=server.node.name),
        status=DriftStatus(row.status),
        checked_at=row.checked_at,
        found_at=row.found_at,
        differences=[Difference.model_validate(entry) for entry in row.differences],
        diff=row.diff,
        acceptable=row.acceptable,
        error=None if row.error is None else DriftError.model_validate(row.error),
        reasserted_at=row.reasserted_at,
        version=row.version,
    )


def reconcile(server: Server, wanted: ReconcileRequest, actor: Actor, manner: Manner) -> Asked:
    """Queue the job that brings a server's VM to all that is recorded; as `configure` does, it restarts only when allowed.

    Raises:
        LockedError: a job has the server.
        ConflictError: it is not ready; or what was found is nothing that a change of the VM could mend.
    """
    assert_free(server)
    row = Drift.of(server)
    if row is not None:
        _assert_mendable(server, [Difference.model_validate(entry) for entry in row.differences])
    job = configure.configure(server, ServerChange(restart=wanted.restart), actor, manner)
    assert job is not None
    return Asked(server, job)


def digest_now(server: Server, keyring: Keyring, settings: Settings) -> str:
    """Proxmox VE's digest of a VM's configuration. Call it outside of a transaction: the node is asked.

    Raises:
        NodeUnavailableError: the node gives no usable answer.
        ConflictError: it has no such VM.
    """
    with live.asking(server.node, endpoint(server.node, keyring, settings)) as client:
        return reads.vm_digest(client, server.node.name, server.vmid)


def accept(server: Server, wanted: AcceptRequest, digest: str) -> Drift:
    """Let the record take over what was found; returns the drift that is left.

    Args:
        digest: what `digest_now` has told.

    Raises:
        PreconditionFailedError: something else was found since.
        LockedError: a job has the server.
        ConflictError: it is not ready; the VM is another one by now; or something that was found cannot be accepted.
        DataValidationError: one of the fields has not drifted, or cannot be accepted.
        UniquenessError: the owner has another server of the name that was found.
    """
    row = find(server)
    if row.version != wanted.version:
        raise PreconditionFailedError("Something else was found since this drift was read. Read it again.")
    assert_free(server)
    if row.status != DriftStatus.DRIFTED:
        raise ConflictError(f"The drift of server {server.name} is {row.status}: there is nothing to accept.")
    found = [Difference.model_validate(entry) for entry in row.differences]
    fields = _accepted(row, found, wanted)
    if digest != row.digest:
        raise ConflictError(
            f"The VM of server {server.name} was changed since it was looked at.", hint=_AGAIN
        )
    configure.take_over(server, ServerChange.model_validate({name: row.acceptable[name] for name in fields}))
    left = differences.not_among(fields, found)
    row.settle([difference.model_dump(mode="json") for difference in left], fields)
    row.server = server
    return row


def _accepted(row: Drift, found: Sequence[Difference], wanted: AcceptRequest) -> list[str]:
    """The fields that are accepted: those that were named, else all that differ, of which none may be one that cannot be."""
    if wanted.fields is not None:
        problems = [
            FieldProblem(f"fields.{index}", f"{name} has not drifted, or its value cannot be accepted")
            for index, name in enumerate(wanted.fields)
            if name not in row.acceptable
        ]
        if problems:
            raise DataValidationError(problems)
        return list(dict.fromkeys(wanted.fields))
    stays = differences.not_among(row.acceptable, found)
    if stays:
        raise ConflictError(
            "Not all that was found can be accepted.",
            details=[
                FieldProblem(difference.setting, "cannot be accepted: reconcile it") for difference in stays
            ],
            hint="Name the fields that are to be accepted, and reconcile the others.",
        )
    return list(row.acceptable)


def _assert_mendable(server: Server, found: Sequence[Difference]) -> None:
    for field, message, hint in (
        ("vm", "its node has no such VM", "Restore, rebuild or delete the server."),
        (
            "owner",
            f"VM {server.vmid} does not have the server's SMBIOS UUID: it is not touched",
            "See whose it is. Give it its UUID back by hand, or delete the server.",
        ),
    ):
        if any(difference.field == field for difference in found):
            raise ConflictError(
                f"Server {server.name} cannot be reconciled: {message}.",
                details=[FieldProblem(field, message)],
                hint=hint,
            )
    if found and all(_is_larger_disk(difference) for difference in found):
        message = "the disk is larger than recorded, and Proxmox VE cannot shrink disks"
        raise ConflictError(
            f"Server {server.name} cannot be reconciled: {message}.",
            details=[FieldProblem("disk_bytes", message)],
            hint="Accept it.",
        )


def _is_larger_disk(difference: Difference) -> bool:
    sizes = difference.found, difference.recorded
    return (
        difference.field == "disk_bytes"
        and all(isinstance(size, int) for size in sizes)
        and sizes[0] > sizes[1]
    )
