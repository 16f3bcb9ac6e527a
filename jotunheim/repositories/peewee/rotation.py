"""All that is encrypted, encrypted anew with the first key, so that the others can be thrown away.

Service and workers may go on meanwhile, if they were started with all keys: each row is replaced only if it is still what was
read, a batch a transaction. What is done is recognised by its key, so a rotation that was killed is just begun again, and two at
once share the work. The value by which a key is checked comes last, and only when nothing is left: until then, nothing starts
without the old key.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from peewee import Field

from jotunheim.exceptions.repository import SecretError
from jotunheim.repositories.peewee.database import Table, now, transact
from jotunheim.repositories.peewee.idempotency import KEPT, StoredAnswer, sealed_as
from jotunheim.repositories.peewee.secrets import KEY_CHECK, Keyring, Secret

BATCH = 100
PAUSE_SECONDS = 0.02
"""Between two batches. SQLite has one writer, and does not see to it that those who wait get their turn."""
MAX_PASSES = 10
"""How often it is looked again for what others have written meanwhile with another key."""


@dataclass(frozen=True)
class Sealed:
    """A column that is encrypted. Whatever else is encrypted with the keyring has to be among `SEALED`."""

    table: type[Table]
    column: Field
    key: Sequence[Field]
    """The row's primary key."""
    name_of: Callable[[Any], str]
    """The name under which a row's value is encrypted."""


_ANSWERS = Sealed(
    StoredAnswer,
    StoredAnswer.answer,
    (StoredAnswer.user, StoredAnswer.key),
    lambda row: sealed_as(row.user_id, row.key),
)
_SECRETS = Sealed(Secret, Secret.ciphertext, (Secret.name,), lambda row: str(row.name))
SEALED = (_ANSWERS, _SECRETS)


@dataclass
class Rotation:
    """What has come of it."""

    rotated: int = 0
    left: dict[str, str] = field(default_factory=dict)
    """What could not be decrypted, by name, and why."""


def rotate(keyring: Keyring) -> Rotation:
    """Encrypt everything with the first key that another one has encrypted."""
    rotation = Rotation()
    StoredAnswer.delete().where(StoredAnswer.created_at <= now() - KEPT).execute()
    for _ in range(MAX_PASSES):
        rotation.left.clear()
        if not sum(_pass(sealed, keyring, rotation) for sealed in SEALED):
            break
    else:
        rotation.left["…"] = (
            "others keep writing with another key: start service and workers with this first key"
        )
    if not rotation.left:
        check = list(Secret.select().where(Secret.name == KEY_CHECK))
        rotation.rotated += _renew(_SECRETS, check, keyring).rotated
    return rotation


def _pass(sealed: Sealed, keyring: Keyring, rotation: Rotation) -> int:
    """Go through a table once; returns how many rows could be decrypted and were tried."""
    tried = 0
    after: Any = None
    while rows := _others(sealed, keyring, after):
        after = rows[-1]
        batch = transact(partial(_renew, sealed, rows, keyring))
        rotation.rotated += batch.rotated
        rotation.left |= batch.left
        tried += len(rows) - len(batch.left)
        time.sleep(PAUSE_SECONDS)
    return tried


def _others(sealed: Sealed, keyring: Keyring, after: Any) -> list[Any]:
    """The next rows that another key has encrypted."""
    query = sealed.table.select().where((sealed.column != "") & ~sealed.column.startswith(keyring.current))
    if sealed is _SECRETS:
        query = query.where(Secret.name != KEY_CHECK)
    if after is not None:
        query = query.where(_beyond(sealed.key, after))
    return list(query.order_by(*sealed.key).limit(BATCH))


def _beyond(key: Sequence[Field], row: Any) -> Any:
    first, rest = key[0], key[1:]
    value = _value(first, row)
    return (first > value) | ((first == value) & _beyond(rest, row)) if rest else first > value


def _value(column: Field, row: Any) -> Any:
    return row.__data__[column.name]


def _renew(sealed: Sealed, rows: Iterable[Any], keyring: Keyring) -> Rotation:
    """Replace rows that are still as they were read."""
    done = Rotation()
    for row in rows:
        old, name = _value(sealed.column, row), sealed.name_of(row)
        if old.startswith(keyring.current):
            continue
        try:
            new = keyring.renew(name, old)
        except SecretError as error:
            done.left[name] = error.message
            continue
        query = sealed.table.update({sealed.column: new}).where(sealed.column == old)
        for column in sealed.key:
            query = query.where(column == _value(column, row))
        done.rotated += query.execute()
    return done
