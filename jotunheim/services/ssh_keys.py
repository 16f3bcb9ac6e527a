"""SSH keys that users keep, and which of them a server gets.

A server has a copy of the keys that it was given: changing or deleting one of a user's keys changes no server.
"""

import base64
import hashlib
from collections.abc import Iterable, Sequence

from jotunheim.data.paging import Page, Paged
from jotunheim.data.ssh_key import SshKeyChange, SshKeySpec, UserSshKeyView
from jotunheim.exceptions.model import DataValidationError, FieldProblem
from jotunheim.exceptions.repository import NotFoundError
from jotunheim.exceptions.service import ResourceLimitExceededError
from jotunheim.repositories.peewee.accounts import User
from jotunheim.repositories.peewee.database import locking, serialize, unique
from jotunheim.repositories.peewee.paging import paginate
from jotunheim.repositories.peewee.ssh_keys import SshKey
from jotunheim.services import resources

MAX_KEYS = 100
"""How many keys a user may keep, and a server have."""

SORTABLE = {
    "id": SshKey.id,
    "name": SshKey.name,
    "fingerprint": SshKey.fingerprint,
    "created_at": SshKey.created_at,
    "updated_at": SshKey.updated_at,
}


def create_key(spec: SshKeySpec, user_id: int) -> SshKey:
    """Keep a key for a user.

    Raises:
        DataValidationError: there is no such user.
        UniquenessError: the user has this key already, or another one of this name.
        ResourceLimitExceededError: the user has as many as a user may have.
    """
    serialize(f"ssh keys of {user_id}")
    if not User.exists(user_id):
        raise DataValidationError([FieldProblem("user_id", f"there is no user {user_id}")])
    public_key = spec.public_key.strip()
    fingerprint = fingerprint_of(public_key)
    with unique(
        f"There is a key {spec.name} of this user already.",
        fingerprint=f"This user has the key {fingerprint} already.",
    ):
        if SshKey.count_of(user_id) >= MAX_KEYS:
            raise ResourceLimitExceededError(f"A user may keep {MAX_KEYS} keys.", hint="Delete one first.")
        key: SshKey = SshKey.create(
            user=user_id, name=spec.name, public_key=public_key, fingerprint=fingerprint
        )
    return key


def list_keys(
    page: Page, user_id: int | None, name: str | None = None, fingerprint: str | None = None
) -> Paged[UserSshKeyView]:
    """A page of the keys of a user, or of all, that have this name and this fingerprint."""
    rows, total = paginate(SshKey.matching(user_id, name, fingerprint), page, SORTABLE)
    return Paged([view(row) for row in rows], page, total)


def find(id_: int, user_id: int | None = None, if_match: str | None = None) -> SshKey:
    """A key; within a transaction nobody else changes it until that ends.

    Args:
        user_id: only a key of this user.
        if_match: the version that the caller knows.

    Raises:
        NotFoundError: there is none, or it is somebody else's.
        PreconditionFailedError: it has another version.
    """
    key: SshKey | None = locking(SshKey.matching(user_id).where(SshKey.id == id_), SshKey).first()
    if key is None:
        raise NotFoundError("ssh key", id_)
    resources.assert_version("key", key, if_match)
    return key


def change_key(key: SshKey, change: SshKeyChange) -> None:
    """Give a key another name.

    Raises:
        UniquenessError: the user has another key of this name.
    """
    with unique(f"There is a key {change.name} of this user already."):
        key.change(**change.given())


def chosen(
    owner_id: int, given: Sequence[str] | None, ids: Sequence[int] | None, default: Iterable[str]
) -> list[str]:
    """The keys that a server gets: those that are given, then the named ones of its owner that are not among them.

    Args:
        ids: of keys that the owner keeps.
        default: what it gets when neither is said.

    Raises:
        DataValidationError: the owner has no such key, or they are too many.
    """
    if given is None and ids is None:
        return list(default)
    named = SshKey.among(owner_id, ids or ())
    problems = [
        FieldProblem(f"ssh_key_ids.{index}", f"there is no key {id_}")
        for index, id_ in enumerate(ids or ())
        if id_ not in named
    ]
    if problems:
        raise DataValidationError(problems)
    keys = list(given or ())
    known = {fingerprint_of(line) for line in keys}
    for id_ in ids or ():
        if named[id_].fingerprint not in known:
            keys.append(named[id_].public_key)
            known.add(named[id_].fingerprint)
    if len(keys) > MAX_KEYS:
        raise DataValidationError([FieldProblem("ssh_key_ids", f"makes more than {MAX_KEYS} keys in all")])
    return keys


def kept_by(owner_id: int) -> list[str]:
    """All keys that a user keeps: what their new servers get when nothing else is said."""
    return [key.public_key for key in SshKey.of(owner_id)]


def fingerprint_of(public_key: str) -> str:
    """The fingerprint of a public key, as `ssh-keygen -l` shows it."""
    blob = base64.b64decode(public_key.split()[1])
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def view(key: SshKey) -> UserSshKeyView:
    """A key as the API shows it to operators."""
    return UserSshKeyView(
        id=key.id,
        name=key.name,
        public_key=key.public_key,
        fingerprint=key.fingerprint,
        created_at=key.created_at,
        updated_at=key.updated_at,
        user_id=key.user_id,
    )
