"""The parameters of a request, from wherever they were sent: query, form, JSON or multipart."""

import hashlib
import json
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import BodyPartReader, web

from jotunheim.sandbox.call import Upload
from jotunheim.sandbox.errors import ApiError

HASHES = ("md5", "sha1", "sha224", "sha256", "sha384", "sha512")


async def read_params(request: web.Request) -> tuple[dict[str, Any], Upload | None]:
    """The parameters below the path, and the file if one was uploaded."""
    params = parse_form(request.rel_url.raw_query_string)
    if request.method in ("GET", "DELETE", "HEAD"):
        return params, None
    kind = request.content_type
    if kind == "multipart/form-data":
        fields, upload = await _multipart(request)
        return params | fields, upload
    body = await request.read()
    if not body:
        return params, None
    if kind == "application/json":
        try:
            parsed = json.loads(body)
        except ValueError as error:
            raise ApiError(400, f"malformed JSON: {error}") from error
        if not isinstance(parsed, dict):
            raise ApiError(400, "malformed JSON: not an object")
        return params | parsed, None
    return params | parse_form(body.decode("utf-8", "replace")), None


def parse_form(text: str) -> dict[str, Any]:
    """A query string or form body; a repeated field is a list."""
    values: dict[str, Any] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
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
    async for part in await request.multipart():
        if not isinstance(part, BodyPartReader):
            raise ApiError(400, "Bad Request", bare=True)
        if part.filename is None:
            if part.name == "checksum" and "checksum-algorithm" not in fields:
                raise ApiError(400, "Bad Request", bare=True)
            fields[part.name or ""] = await part.text()
            continue
        hashes = {name: hashlib.new(name, usedforsecurity=False) for name in HASHES}
        size = 0
        while chunk := await part.read_chunk(1024 * 1024):
            size += len(chunk)
            for each in hashes.values():
                each.update(chunk)
        fields["filename"] = part.filename
        fields["tmpfilename"] = f"/var/tmp/pveupload-{hashes['md5'].hexdigest()}"  # noqa: S108 - PVE's path, never opened
        return fields, Upload(part.filename, size, {name: h.hexdigest() for name, h in hashes.items()})
    return fields, None
