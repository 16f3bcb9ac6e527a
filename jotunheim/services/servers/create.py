"""Creates a server: reserves everything it needs and queues its build, in one transaction."""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from jotunheim.data.actor import Actor
from jotunheim.data.job import JobType
from jotunheim.data.server.spec import ServerSpec
from jotunheim.data.server.view import ServerView
from jotunheim.exceptions.model import DataValidationError, FieldProblem
from jotunheim.repositories.peewee.accounts import User
from jotunheim.repositories.peewee.addresses import Address
from jotunheim.repositories.peewee.database import now, previewed, unique
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.repositories.peewee.secrets import Keyring, Secret
from jotunheim.repositories.peewee.servers import Label, Server
from jotunheim.services import networks
from jotunheim.services.proxmox import placement, vmids
from jotunheim.services.servers import password, read
from jotunheim.services.servers.requests import MAX_ATTEMPTS, enqueue
from jotunheim.settings import Settings


@dataclass(frozen=True)
class Created:
    """A new server as the API shows it, the job that builds it, and its generated password, shown once."""

    view: ServerView
    job: Job
    root_password: str | None


def create_server(
    spec: ServerSpec, actor: Actor, settings: Settings, keyring: Keyring, *, check: bool = False
) -> Created:
    """Reserve node, VMID and addresses for a server, record it and queue its build.

    The commit is the promise: the caller wakes a worker after it, and loses nothing when that fails.
    A preview undoes it all: only its job is kept, with what the server would have been.

    Raises:
        DataValidationError: the spec names what does not exist or does not fit together.
        UniquenessError: the owner has a server with this name or external id.
        PlacementError: no VMID or no address is free.
    """
    owner_id = spec.owner_id or actor.user_id
    generated = None
    if spec.password is None and not spec.ssh_keys:
        generated = password.generate()
    secret = spec.password.get_secret_value() if spec.password else generated
    with unique(
        f"There is a server {spec.name} of this owner already.",
        external_id=f"There is a server with the external id {spec.external_id} of this owner already.",
    ):
        with previewed(check):
            server = _record(spec, owner_id, settings)
            if secret is not None:
                Secret.put(keyring, server.password_reference, secret)
            if not check:
                job = enqueue(server, JobType.BUILD, actor)
                return Created(read.read_server(server.id), job, generated)
            shown = read.read_server(server.id)
            parameters = _as_parameters(server, with_password=secret is not None)
        job = Job.enqueue(
            type=JobType.BUILD,
            node=server.node_id,
            max_attempts=MAX_ATTEMPTS,
            requested_by=actor.email,
            request_id=actor.request_id,
            parameters=parameters,
            check_only=True,
        )
        return Created(shown, job, None)


def _record(spec: ServerSpec, owner_id: int, settings: Settings) -> Server:
    if not User.exists(owner_id):
        raise DataValidationError([FieldProblem("owner_id", f"there is no user {owner_id}")])
    node, template = placement.place(spec)
    lifetime = spec.expires_in_seconds
    server: Server = Server.create(
        vmid=vmids.reserve(settings),
        name=spec.name,
        hostname=spec.hostname or spec.name,
        owner=owner_id,
        node=node,
        template=template,
        cpu=spec.cpu,
        memory_bytes=spec.memory_bytes,
        disk_bytes=spec.disk_bytes or template.minimum_disk_bytes,
        ssh_keys=spec.ssh_keys,
        tags=list(dict.fromkeys(spec.tags)),
        limits=spec.limits.model_dump(),
        external_id=spec.external_id,
        start_after_build=spec.start,
        protected=spec.protected,
        expires_at=None if lifetime is None else now() + timedelta(seconds=lifetime),
    )
    Label.attach(server, spec.labels)
    networks.allocate(server, node, spec.addresses)
    return server


def _as_parameters(server: Server, *, with_password: bool) -> dict[str, Any]:
    """What the preview of a build needs to know of a server that is recorded nowhere else."""
    columns = {
        name: str(value) if isinstance(value, uuid.UUID) else value
        for name, value in server.__data__.items()
        if not isinstance(value, datetime)
    }
    return {"server": columns, "addresses": Address.ids_of(server), "with_password": with_password}
