"""Builds the objects of a process and wires them: the one place that knows how all fits together."""

import json
import logging
import os
import sys

from jotunheim.ansible import runner
from jotunheim.exceptions.repository import StoreUnavailableError
from jotunheim.jobs import node as node_jobs
from jotunheim.jobs import server as server_jobs
from jotunheim.jobs.queue import Queue
from jotunheim.jobs.worker import Worker
from jotunheim.repositories.peewee import database
from jotunheim.repositories.peewee.secrets import Keyring, check_key, create_key_file, remember_key
from jotunheim.routes.operation import Context
from jotunheim.services import access
from jotunheim.settings import Settings

_FOR_OWNER_ONLY = 0o077
KINDS = {kind.type: kind for kind in (*server_jobs.KINDS, *node_jobs.KINDS)}


def api_context(settings: Settings) -> Context:
    """What the API needs; the database is bound as a side effect.

    Raises:
        SecretError: there is no usable secret key, or it is not the one of this database.
        StoreUnavailableError: the database cannot be reached.
    """
    keyring = _use_store(settings)
    return Context(settings=settings, keyring=keyring, wake=Queue(settings.queue).wake)


def worker(settings: Settings) -> Worker:
    """A worker process; the database is bound as a side effect.

    Raises:
        SecretError: there is no usable secret key, or it is not the one of this database.
        StoreUnavailableError: the database cannot be reached.
    """
    keyring = _use_store(settings)
    settings.runs_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    if settings.warm_ansible:
        runner.keep_warm().start()
    return Worker(settings, keyring, Queue(settings.queue), KINDS, run_environment(settings))


def run_environment(settings: Settings) -> dict[str, str]:
    """What a run's plugins must know to find the store.

    ansible-runner writes a run's environment to a file, and keys and database passwords must not stand
    there. So the settings travel as a file in memory that ends with this process.
    """
    values = {
        "state_dir": str(settings.state_dir),
        "database_url": settings.database,
        "secret_key_file": str(settings.key_file),
    }
    if settings.secret_key is not None:
        values["secret_key"] = settings.secret_key.get_secret_value()
    descriptor = os.memfd_create("jotunheim-settings")
    os.write(
        descriptor, "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items()).encode()
    )
    return {"JOTUNHEIM_CONFIG": f"/proc/{os.getpid()}/fd/{descriptor}"}


def initialize(settings: Settings, admin_email: str, admin_password: str | None) -> str:
    """Make state directory, secret key, database and the first administrator; what exists is kept.

    Returns:
        A token of the administrator with all scopes; it is shown nowhere else.

    Raises:
        DataValidationError: this is no e-mail address.
        UniquenessError: there is a user with this e-mail address.
        StoreUnavailableError: the state directory cannot be made, or the database cannot be reached.
    """
    os.umask(_FOR_OWNER_ONLY)
    try:
        settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if settings.secret_key is None:
            create_key_file(settings.key_file)
    except OSError as error:
        raise StoreUnavailableError(f"{error.filename} cannot be made: {error.strerror}.") from None
    keyring = Keyring.load(settings)
    database.connect(settings)
    database.migrate()
    with database.transaction():
        remember_key(keyring)
        admin = access.create_user(admin_email, admin_email, "admin", admin_password)
        return access.issue_token(admin, "init", ["*"])


def _use_store(settings: Settings) -> Keyring:
    os.umask(_FOR_OWNER_ONLY)
    keyring = Keyring.load(settings)
    database.connect(settings)
    if not database.pending_migrations():
        check_key(keyring)
    return keyring


def configure_logging(settings: Settings) -> None:
    """Log to standard error, one line an entry."""
    logging.basicConfig(
        level=settings.log_level,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        force=True,
    )
    logging.getLogger("huey").setLevel(logging.WARNING)
    logging.getLogger("httpx").setLevel(logging.WARNING)
