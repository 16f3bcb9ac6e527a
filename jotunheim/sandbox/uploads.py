"""The parameters of a request, from wherever they were sent: query, form, JSON or multipart."""

import hashlib
import json
import re
from typing import Any
from urllib.parse import unquote_plus

from aiohttp import BodyPartReader, web

from jotunheim.sandbox.call import Upload
from jotunheim.sandbox.errors import ApiError

LARGEST_BODY = 512 * 1024
"""Bytes that PVE's HTTP server takes as parameters, and as a field beside an uploaded file."""
UPLOAD = re.compile(r"/nodes/[^/]+/storage/[^/]+/upload")
FORMS = ("", "application/x-www-form-urlencoded", "application/json")
HASHES = ("md5", "sha1", "sha224", "sha256", "sha384", "sha512")


BAD_UPLOAD = ApiError(400, "Bad Request", bare=True)


def check_body(request: web.Request, path: str) -> None:
    """Refuse a body that PVE's HTTP server does not read, before anything looks into it.

    Raises:
        ApiError: 501 or 506, with an empty body.
        ConnectionResetError: an upload that is none; PVE closes the connection.
    """
    if "chunked" in request.headers.get("Transfer-Encoding", "").lower():
        raise ApiError(501, "chunked transfer encoding not supported", bare=True)
    length = request.content_length
    if not length:
        return
    if request.method not in ("PUT", "POST"):
        raise ApiError(501, f"Unexpected content for method '{request.method}'", bare=True)
    kind = request.content_type if "Content-Type" in request.headers else ""
    if request.method == "POST" and UPLOAD.fullmatch(path):
        if kind != "multipart/form-data" or "boundary=" not in request.headers["Content-Type"]:
            if request.transport:
                request.transport.abort()
            raise ConnectionResetError
        return
    if length > LARGEST_BODY:
        raise ApiError(501, "for data too large", bare=True)
    if kind not in FORMS:
        shown = request.headers["Content-Type"]
        raise ApiError(506, f"upload 'Content-Type '{shown}' not implemented", bare=True)


async def read_params(request: web.Request) -> tuple[dict[str, Any], Upload | None]:
    """The parameters below the path, and the file if one was uploaded."""
    params = parse_form(request.rel_url.raw_query_string)
    if request.method in ("GET", "DELETE"):
        return params, None
    if request.content_type == "multipart/form-data":
        fields, upload = await _multipart(request)
        return params | fields, upload
    body = await request.read()
    if not body:
        return params, None
    if request.content_type == "application/json":
        return _parse_json(body) | params, None
    return parse_form(body.decode("utf-8", "replace")) | params, None


def _parse_json(body: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ApiError(501, f"malformed JSON string: {error}", bare=True) from error
    if not isinstance(parsed, dict):
        raise ApiError(501, "Not a HASH reference", bare=True)
    return parsed


def parse_form(text: str) -> dict[str, Any]:
    """A query string or form body; a repeated field is a list.

    As PVE reads it: a bare `;` separates fields as `&` does, and a value ends at a bare `=`.
    """
    values: dict[str, Any] = {}
    for field in re.split("[&;]", text):
        name, value = (unquote_plus(part) for part in [*field.split("="), ""][:2])
        if not field:
            continue
        if name not in values:
            values[name] = value
        elif isinstance(values[name], list):
            values[name].append(value)
        else:
            values[name] = [values[name], value]
    return values


async def _multipart(request: web.Request) -> tuple[dict[str, Any], Upload | None]:
    """PVE's own multipart parser: fields in a fixed order, then the file."""
    fields: dict[str, Any] = {}
    try:
        reader = await request.multipart()
        while (part := await reader.next()) is not None:
            if not isinstance(part, BodyPartReader):
                raise BAD_UPLOAD
            if part.filename is not None:
                return await _file(part, fields)
            if part.name == "checksum" and "checksum-algorithm" not in fields:
                raise BAD_UPLOAD
            fields[part.name or ""] = await _text(part)
    except ValueError as error:  # aiohttp's word for a body that is no multipart
        raise BAD_UPLOAD from error
    return fields, None


async def _text(part: BodyPartReader) -> str:
    content = b""
    while chunk := await part.read_chunk(64 * 1024):
        content += chunk
        if len(content) > LARGEST_BODY:
            raise BAD_UPLOAD
    return content.decode("utf-8", "replace")


async def _file(part: BodyPartReader, fields: dict[str, Any]) -> tuple[dict[str, Any], Upload]:
    filename = part.filename or ""
    hashes = {name: hashlib.new(name, usedforsecurity=False) for name in HASHES}
    size = 0
    while chunk := await part.read_chunk(1024 * 1024):
        size += len(chunk)
        for each in hashes.values():
            each.update(chunk)
    fields["filename"] = filename
    fields["tmpfilename"] = f"/var/tmp/pveupload-{hashes['md5'].hexdigest()}"  # noqa: S108 - PVE's path, never opened
    return fields, Upload(filename, size, {name: h.hexdigest() for name, h in hashes.items()})
