"""Passwords: given or generated, kept encrypted until a job has handed them over."""

import secrets

from pydantic import SecretStr

from jotunheim.data.actor import Actor
from jotunheim.data.job import JobType
from jotunheim.data.server.requests import PasswordRequest
from jotunheim.repositories.peewee.secrets import Keyring, Secret
from jotunheim.repositories.peewee.servers import Server
from jotunheim.services.servers.plans import Manner
from jotunheim.services.servers.requests import Asked, assert_free, enqueue

GENERATED_PASSWORD_BYTES = 18


def set_password(
    server: Server, wanted: PasswordRequest, actor: Actor, keyring: Keyring, manner: Manner
) -> Asked:
    """Queue a new password for the server's account.

    Raises:
        LockedError: a job has the server.
        ConflictError: it is not ready.
    """
    assert_free(server)
    job = enqueue(server, JobType.PASSWORD, actor, {"account": server.account}, manner)
    return Asked(server, job, keep(server, wanted.password, keyring, check=manner.check))


def keep(server: Server, given: SecretStr | None, keyring: Keyring, *, check: bool) -> str | None:
    """Store a password until it is handed over; a preview stores none.

    Returns:
        The password when it was generated here, else None.
    """
    if check:
        return None
    generated = None if given else generate()
    password = generated or (given.get_secret_value() if given else "")
    Secret.put(keyring, server.password_reference, password)
    return generated


def generate() -> str:
    """A new random password."""
    return secrets.token_urlsafe(GENERATED_PASSWORD_BYTES)
