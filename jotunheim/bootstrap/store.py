"""The store of a process, with the keys that open its secrets."""

import os

from jotunheim.exceptions.repository import StoreUnavailableError
from jotunheim.repositories.peewee import database
from jotunheim.repositories.peewee.secrets import Keyring, check_key, create_key_file, remember_key
from jotunheim.services.accounts import local, tokens
from jotunheim.services.audit import records
from jotunheim.settings import Settings

_FOR_OWNER_ONLY = 0o077


def use_store(settings: Settings) -> Keyring:
    """Bind the database of these settings.

    Raises:
        SecretError: there is no usable secret key, or it is not the one of this database.
        StoreUnavailableError: the database cannot be reached.
    """
    os.umask(_FOR_OWNER_ONLY)
    keyring = Keyring.load(settings)
    database.connect(settings)
    if not database.pending_migrations():
        check_key(keyring)
    return keyring


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
    with records.command("init", "user") as done:
        remember_key(keyring)
        admin = local.create_user(admin_email, admin_email, "admin", admin_password)
        done.resource_id, done.after = admin.id, {"user": {"id": admin.id, "email": admin.email}}
        return tokens.issue(admin, "init", ["*"])[1]
