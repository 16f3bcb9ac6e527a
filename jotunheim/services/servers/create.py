"""Creates a server: reserves everything it needs and queues its build, in one transaction."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from jotunheim.data.actor import Actor
from jotunheim.data.job import JobType
from jotunheim.data.server.spec import DEFAULT_MEMORY_BYTES, ServerSpec
from jotunheim.data.server.view import ServerView
from jotunheim.exceptions.model import DataValidationError, FieldProblem, all_problems
from jotunheim.exceptions.service import PlacementError
from jotunheim.repositories.peewee.accounts import User
from jotunheim.repositories.peewee.addresses import Address
from jotunheim.repositories.peewee.backups import Backup
from jotunheim.repositories.peewee.database import now, previewed, transaction, unique
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.repositories.peewee.labels import Label
from jotunheim.repositories.peewee.secrets import Keyring, Secret
from jotunheim.repositories.peewee.servers import Server
from jotunheim.repositories.peewee.traffic import TrafficMeter
from jotunheim.repositories.proxmox.configuration import Configuration
from jotunheim.services import ssh_keys
from jotunheim.services.backups import sources
from jotunheim.services.networks import addresses, claims, macs
from jotunheim.services.proxmox import placement, vmids
from jotunheim.services.servers import password, plans, read
from jotunheim.services.servers.plans import AT_ONCE, Manner
from jotunheim.services.servers.requests import MAX_ATTEMPTS, enqueue
from jotunheim.settings import Settings

PARAMETERS = {"addresses": "addresses", "with_password": "password"}
"""What a plan's parts are called when a server would not be as shown; the rest is our record's."""


@dataclass(frozen=True)
class Created:
    """A new server as the API shows it, the job that builds it, and its generated password, shown once."""

    view: ServerView
    job: Job
    root_password: str | None = field(repr=False)


@dataclass(frozen=True)
class Origin:
    """The backup that a server is made from, and the configuration in it."""

    backup: Backup
    archived: Configuration

    @property
    def columns(self) -> dict[str, Any]:
        """What the server has from it, beside its size."""
        user = self.archived.user
        return {
            "restored_from": self.backup.id,
            "agent": self.archived.agent,
            "cloud_init": {"user": user} if user else {},
        }


def create_server(
    spec: ServerSpec,
    actor: Actor,
    settings: Settings,
    keyring: Keyring,
    manner: Manner = AT_ONCE,
    archived: Configuration | None = None,
) -> Created:
    """Reserve node, VMID, addresses and MAC address for a server, record it and queue its build.

    The commit is the promise: the caller wakes a worker after it, and loses nothing when that fails.
    A preview undoes it all: only its job is kept, with what the server would have been. A plan makes just that
    server, under the id, the VMID and the addresses that were shown.

    Args:
        archived: the configuration in the spec's backup.

    Raises:
        DataValidationError: the spec names what does not exist or does not fit together.
        UniquenessError: the owner has a server with this name or external id.
        PlacementError: no node can take it, or no VMID, address or MAC address is free.
        ConflictError: the server would not be the one that the plan has shown, or the backup cannot be used now.
        LockedError: the backup is about to be removed.
    """
    with unique(
        f"There is a server {spec.name} of this owner already.",
        external_id=f"There is a server with the external id {spec.external_id} of this owner already.",
    ):
        with previewed(manner.check):
            backup = sources.hold(spec.backup_id) if spec.backup_id is not None else None
            origin = None if backup is None or archived is None else Origin(backup, archived)
            server = _record(spec, origin, actor, settings, manner.planned)
            generated = password.generate() if _needs_password(spec, server, manner.planned) else None
            secret = spec.password.get_secret_value() if spec.password else generated
            parameters = as_parameters(server, with_password=secret is not None)
            if secret is not None:
                Secret.put(keyring, server.password_reference, secret)
            if not manner.check:
                job = _enqueue(server, actor, parameters, manner)
                return Created(read.read_server(server.id), job, generated)
            shown = read.read_server(server.id)
        job = Job.enqueue(
            type=JobType.BUILD,
            node=server.node_id,
            max_attempts=MAX_ATTEMPTS,
            requested_by=actor.email,
            request_id=actor.request_id,
            parameters=parameters,
            check_only=True,
        )
        plans.settle(manner, job, None, vmid=server.vmid, new=True, **_watched(server, backup))
        return Created(shown, job, None)


def _watched(server: Server, backup: Backup | None) -> dict[str, Any]:
    """What of the node's state a creation rests on beside its VMID: the template, or the backup."""
    if backup is None:
        return {"template_vmid": server.made_from.vmid}
    return {"backup_volume": backup.volume}


def _enqueue(server: Server, actor: Actor, parameters: Mapping[str, Any], manner: Manner) -> Job:
    """Queue the build of a server that is recorded; a plan's only when it is the one that was shown."""
    if manner.planned is not None:
        plans.assert_same(manner.planned, parameters, PARAMETERS)
    job = enqueue(server, JobType.BUILD, actor)
    plans.settle(manner, job, server)
    return job


def _needs_password(spec: ServerSpec, server: Server, planned: Mapping[str, Any] | None) -> bool:
    """Whether one has to be generated: without a password, and without keys or where a plan has one.

    On Windows, keys that nobody chose are no way in.
    """
    if spec.password is not None:
        return False
    if planned is not None:
        return bool(planned["with_password"])
    keys_are_chosen = spec.ssh_keys is not None or spec.ssh_key_ids is not None
    is_windows = server.template is not None and server.template.os_family == "windows"
    return not server.ssh_keys or (is_windows and not keys_are_chosen)


def _record(
    spec: ServerSpec,
    origin: Origin | None,
    actor: Actor,
    settings: Settings,
    planned: Mapping[str, Any] | None,
) -> Server:
    owner_id = spec.owner_id or (origin.backup.owner_id if origin else actor.user_id)
    shown: Mapping[str, Any] = planned["server"] if planned is not None else {}
    if shown:
        owner_id = shown["owner"]  # whoever applies the plan
    if shown:
        spec = spec.model_copy(update={"node_id": shown["node"]})
    with all_problems() as collect:
        collect(_assert_owner, owner_id)
        keys = collect(ssh_keys.chosen, owner_id, spec.ssh_keys, spec.ssh_key_ids, ssh_keys.kept_by(owner_id))
        places = collect(_places, spec, origin, settings)
    vmid = _vmid(shown, settings)
    reasons: dict[str, PlacementError | DataValidationError] = {}
    for place in places:
        try:
            with transaction():
                server = _insert(spec, origin, place, owner_id, vmid, keys, shown)
                _give_addresses(server, spec, planned)
                return server
        except (PlacementError, DataValidationError) as error:  # each node has pools of its own
            reasons[place.node.name] = error
    if len(reasons) == 1 or all(isinstance(error, DataValidationError) for error in reasons.values()):
        raise next(iter(reasons.values()))
    raise placement.none_left({name: f"lacks addresses: {_said(error)}" for name, error in reasons.items()})


def _said(error: PlacementError | DataValidationError) -> str:
    if isinstance(error, PlacementError):
        return error.message
    return "; ".join(f"{problem.field} {problem.message}" for problem in error.problems)


def _places(spec: ServerSpec, origin: Origin | None, settings: Settings) -> list[placement.Place]:
    if origin is None:
        candidates = placement.of_templates(spec)
    else:
        placement.assert_named(spec)
        candidates = sources.candidates(spec, origin.backup, origin.archived)
    return placement.places(spec, _memory_bytes(spec, origin), candidates, settings)


def _memory_bytes(spec: ServerSpec, origin: Origin | None) -> int:
    return spec.memory_bytes or (origin.archived.memory_bytes if origin else DEFAULT_MEMORY_BYTES)


def _insert(
    spec: ServerSpec,
    origin: Origin | None,
    place: placement.Place,
    owner_id: int,
    vmid: int,
    keys: list[str],
    shown: Mapping[str, Any],
) -> Server:
    lifetime = spec.expires_in_seconds
    server: Server = Server.create(
        id=uuid.UUID(shown["id"]) if shown else uuid.uuid4(),
        vmid=vmid,
        mac=_mac(shown),
        name=spec.name,
        hostname=spec.hostname or spec.name,
        owner=owner_id,
        node=place.node,
        template=place.template,
        storage=place.node.vm_storage,
        cpu=spec.cpu or (origin.archived.cores if origin else 1),
        memory_bytes=_memory_bytes(spec, origin),
        disk_bytes=place.disk_bytes(spec),
        **(origin.columns if origin else {}),
        ssh_keys=keys,
        tags=list(dict.fromkeys(spec.tags)),
        limits=spec.limits.model_dump(),
        external_id=spec.external_id,
        anti_spoofing=spec.anti_spoofing,
        start_after_build=spec.start,
        protected=spec.protected,
        expires_at=None if lifetime is None else now() + timedelta(seconds=lifetime),
    )
    Label.attach(server, spec.labels)
    TrafficMeter.begin(server)
    return server


def _give_addresses(server: Server, spec: ServerSpec, planned: Mapping[str, Any] | None) -> None:
    if planned is None:
        claims.provide(server, server.node, spec.addresses)
        macs.assign(server)
        return
    with plans.pinned("addresses"):
        for id_ in planned["addresses"]:  # one by one: the first one is the first interface's
            addresses.take(server, [id_])


def _assert_owner(id_: int) -> None:
    if not User.exists(id_):
        raise DataValidationError([FieldProblem("owner_id", f"there is no user {id_}")])


def _vmid(shown: Mapping[str, Any], settings: Settings) -> int:
    if not shown:
        return vmids.reserve(settings)
    with plans.pinned("vmid"):
        return vmids.take(shown["vmid"])


def _mac(shown: Mapping[str, Any]) -> str | None:
    """The MAC address that a plan has shown; else the pool of the first address decides."""
    mac = shown.get("mac")
    if mac is None:
        return None
    with plans.pinned("mac"):
        return macs.take(mac)


def as_parameters(server: Server, *, with_password: bool) -> dict[str, Any]:
    """What the preview of a build needs to know of a server that is recorded nowhere else."""
    columns = {
        name: str(value) if isinstance(value, uuid.UUID) else value
        for name, value in server.__data__.items()
        if not isinstance(value, datetime)
    }
    return {"server": columns, "addresses": Address.ids_of(server), "with_password": with_password}
