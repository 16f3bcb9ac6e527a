"""Reads what a request says: body, query, idempotency key. Everything that is wrong is told at once."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json, to_json
from starlette.requests import Request

from jotunheim.data.actor import Actor
from jotunheim.data.fields import Change
from jotunheim.exceptions.http import PayloadTooLargeError
from jotunheim.exceptions.model import (
    MAX_FIELD,
    MAX_PROBLEMS,
    DataValidationError,
    FieldProblem,
    from_pydantic,
)
from jotunheim.exceptions.service import ConflictError

_NUL = "\0"
_ESCAPED_NUL = b"\\u0000"
"""How JSON writes it; a bare one is no JSON."""
PASSWORD = "password"  # noqa: S105 - the name of a field


async def read_body(request: Request, limit: int) -> bytes:
    """The request's body.

    Raises:
        PayloadTooLargeError: it has more than `limit` bytes; reading stops there.
    """
    chunks = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise PayloadTooLargeError(f"The request body is larger than {limit} bytes.")
        chunks.append(chunk)
    return b"".join(chunks)


def parse_query(shape: type[BaseModel], request: Request) -> BaseModel:
    """The query as this shape; a name that is given twice is refused."""
    values = dict(request.query_params)
    repeated = [name for name in values if len(request.query_params.getlist(name)) > 1]
    if repeated:
        raise DataValidationError([FieldProblem(name, "is given more than once") for name in repeated])
    return _shaped(lambda: shape.model_validate(values), list(_with_nul(values)))


def parse_body(shape: type[BaseModel] | None, request: Request, body: bytes) -> BaseModel | None:
    """The JSON body as this shape; None: the request takes no body."""
    if shape is None:
        if body.strip() not in (b"", b"{}"):
            raise DataValidationError([FieldProblem("body", "must be empty: this request takes none")])
        return None
    if not body.strip() and not any(field.is_required() for field in shape.model_fields.values()):
        return _shaped(shape, [])
    media_type = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise DataValidationError([FieldProblem("Content-Type", "must be application/json")])
    return _shaped(lambda: shape.model_validate_json(body), _nul_in(body))


def _shaped(validate: Callable[[], BaseModel], problems: list[FieldProblem]) -> BaseModel:
    """What is validated, unless there are problems besides those that this finds."""
    try:
        shaped = validate()
    except ValidationError as error:
        found = from_pydantic(error).problems
        named = {problem.field for problem in found}
        raise DataValidationError([*found, *(one for one in problems if one.field not in named)]) from None
    if problems:
        raise DataValidationError(problems)
    return shaped


def _nul_in(body: bytes) -> list[FieldProblem]:
    try:
        return list(islice(_with_nul(from_json(body)), MAX_PROBLEMS)) if _ESCAPED_NUL in body else []
    except ValueError:
        return []  # it is no JSON, as is said of it anyway


def _with_nul(value: Any, *place: str) -> Iterator[FieldProblem]:
    """Where a NUL stands, in names or values: not every database keeps it, and nothing of ours needs it."""
    if isinstance(value, str) and _NUL in value:
        yield FieldProblem(".".join(place) or "body", "must not contain NUL")
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in parts:
        if isinstance(name, str) and _NUL in name:
            yield FieldProblem(".".join([*place, ascii(name)[1:-1]])[:MAX_FIELD], "must not contain NUL")
        yield from _with_nul(part, *place, str(name).replace(_NUL, ""))


def said(body: BaseModel | None) -> dict[str, Any]:
    """What a body says, without its password: two that say the same are equal."""
    if body is None:
        return {}
    return body.model_dump(mode="json", exclude={PASSWORD}, exclude_unset=isinstance(body, Change))


def parse_planned_body(
    shape: type[BaseModel] | None, planned: Mapping[str, Any], request: Request, body: bytes
) -> BaseModel | None:
    """The body of a request that applies a plan: what the plan's own request said, and a password when one is given.

    Args:
        planned: what that `said`.

    Raises:
        ConflictError: the body says something else, or the plan's request was one of another kind.
        DataValidationError: it is no body of this shape at all.
    """
    if shape is None:
        return parse_body(None, request, body)
    added = _password_in(body)
    if added is None:
        parsed = parse_body(shape, request, body)
        if said(parsed) != planned:
            raise _not_previewed(_differing(said(parsed), planned))
        return parsed
    try:
        shape.model_validate_json(to_json(planned))
    except ValidationError:
        raise _not_previewed(planned) from None
    return parse_body(shape, request, to_json({**planned, **added}))


def _not_previewed(fields: Iterable[str]) -> ConflictError:
    return ConflictError(
        "This is not the request that was previewed.",
        details=[FieldProblem(name, "is not what was previewed") for name in sorted(fields)],
        hint="Leave the body out, or preview again.",
    )


def _password_in(body: bytes) -> dict[str, Any] | None:
    """The password of a body that has nothing else; empty when it has nothing; None when it says more."""
    if not body.strip():
        return {}
    try:
        given = from_json(body)
    except ValueError:
        return None
    return given if isinstance(given, dict) and given.keys() <= {PASSWORD} else None


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> set[str]:
    unlike = {name for name in one.keys() & other.keys() if one[name] != other[name]}
    return unlike | (one.keys() ^ other.keys())


def idempotency_key(request: Request) -> str | None:
    """The header `Idempotency-Key`, when it is given."""
    key = request.headers.get("idempotency-key")
    if key is not None and not (1 <= len(key) <= 255 and key.isascii() and key.isprintable()):
        raise DataValidationError(
            [FieldProblem("Idempotency-Key", "must be 1 to 255 printable ASCII characters")]
        )
    return key


def digest_of(request: Request, body: bytes, actor: Actor) -> str:
    """SHA-256 over all that makes a request the same as another one.

    Also with what it is asked for: an answer may hold a secret that a weaker token of the same user must not be told.
    """
    credential = f"token {actor.token_id}, session {actor.session_id}\n".encode()
    # Not of `request.url`: a Host header can move what is a path there.
    head = f"{request.method} {request.scope['path']}?".encode() + request.scope["query_string"] + b"\n"
    return hashlib.sha256(credential + head + body).hexdigest()
