"""Reads what a request says: body, query, idempotency key. Everything that is wrong is told at once."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from jotunheim.exceptions.http import PayloadTooLargeError, from_pydantic
from jotunheim.exceptions.model import DataValidationError, FieldProblem


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


@contextmanager
def all_problems() -> Iterator[Callable[..., Any]]:
    """Gives a way to call parsers one after the other; what they find wrong is raised at once, at the end."""
    problems: list[FieldProblem] = []

    def collect(parse: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return parse(*arguments)
        except DataValidationError as error:
            problems.extend(error.problems)
            return None

    yield collect
    if problems:
        raise DataValidationError(problems)


def parse_query(shape: type[BaseModel], request: Request) -> BaseModel:
    """The query as this shape; a name that is given twice is refused."""
    values = dict(request.query_params)
    repeated = [name for name in values if len(request.query_params.getlist(name)) > 1]
    if repeated:
        raise DataValidationError([FieldProblem(name, "is given more than once") for name in repeated])
    try:
        return shape.model_validate(values)
    except ValidationError as error:
        raise from_pydantic(error) from None


def parse_body(shape: type[BaseModel] | None, request: Request, body: bytes) -> BaseModel | None:
    """The JSON body as this shape; None: the request takes no body."""
    if shape is None:
        if body.strip() not in (b"", b"{}"):
            raise DataValidationError([FieldProblem("body", "must be empty: this request takes none")])
        return None
    if not body.strip() and not any(field.is_required() for field in shape.model_fields.values()):
        return shape()
    media_type = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise DataValidationError([FieldProblem("Content-Type", "must be application/json")])
    try:
        return shape.model_validate_json(body)
    except ValidationError as error:
        raise from_pydantic(error) from None


def idempotency_key(request: Request) -> str | None:
    """The header `Idempotency-Key`, when it is given."""
    key = request.headers.get("idempotency-key")
    if key is not None and not (1 <= len(key) <= 255 and key.isascii() and key.isprintable()):
        raise DataValidationError(
            [FieldProblem("Idempotency-Key", "must be 1 to 255 printable ASCII characters")]
        )
    return key


def digest_of(request: Request, body: bytes) -> str:
    """SHA-256 over all that makes a request the same as another one."""
    head = f"{request.method} {request.url.path}?{request.url.query}\n"
    return hashlib.sha256(head.encode() + body).hexdigest()
