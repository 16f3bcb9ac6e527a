"""Creates a server: reserves everything it needs and queues its build, in one transaction."""

import secrets
from dataclasses import dataclass

from jotunheim.data.actor import Actor
from jotunheim.data.server.spec import ServerSpec
from jotunheim.exceptions.model import DataValidationError, FieldProblem
from jotunheim.repositories.peewee.accounts import User
from jotunheim.repositories.peewee.database import unique
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.repositories.peewee.secrets import Keyring, Secret
from jotunheim.repositories.peewee.servers import Label, Server
from jotunheim.services import networks
from jotunheim.services.proxmox import placement, vmids
from jotunheim.settings import Settings

BUILD = "server.build"
BUILD_ATTEMPTS = 5
GENERATED_PASSWORD_BYTES = 18


@dataclass(frozen=True)
class Created:
    """A new server, the job that builds it, and its generated password, which is shown once."""

    server: Server
    job: Job
    root_password: str | None


def create_server(spec: ServerSpec, actor: Actor, settings: Settings, keyring: Keyring) -> Created:
    """Reserve node, VMID and addresses for a server, record it and queue its build.

    The commit is the promise: the caller wakes a worker after it, and loses nothing when that fails.

    Raises:
        DataValidationError: the spec names what does not exist or does not fit together.
        UniquenessError: the owner has a server with this name or external id.
        PlacementError: no VMID or no address is free.
    """
    owner_id = spec.owner_id or actor.user_id
    generated = None
    if spec.password is None and not spec.ssh_keys:
        generated = secrets.token_urlsafe(GENERATED_PASSWORD_BYTES)
    password = spec.password.get_secret_value() if spec.password else generated
    with unique(
        f"There is a server {spec.name} of this owner already.",
        external_id=f"There is a server with the external id {spec.external_id} of this owner already.",
    ):
        if not User.exists(owner_id):
            raise DataValidationError([FieldProblem("owner_id", f"there is no user {owner_id}")])
        node, template = placement.place(spec)
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
        )
        Label.attach(server, spec.labels)
        networks.allocate(server, node, spec.addresses)
        if password is not None:
            Secret.put(keyring, server.password_reference, password)
        job = Job.enqueue(
            type=BUILD,
            server=server,
            node=node,
            max_attempts=BUILD_ATTEMPTS,
            requested_by=actor.email,
            request_id=actor.request_id,
        )
    return Created(server, job, generated)
