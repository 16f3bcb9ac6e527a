"""One request's way through the PVE port.

Order of the checks, as in PVE: credentials, does the method exist, permissions, is the node there,
parameters, then the handler. Faults strike before the credentials or after the handler.
"""

import asyncio
import json
import logging
import time
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from jotunheim.sandbox import access, pve84, unmodelled, uploads
from jotunheim.sandbox.access import Auth
from jotunheim.sandbox.api import HANDLERS
from jotunheim.sandbox.call import Answer, Call
from jotunheim.sandbox.errors import ApiError, bad_parameters, failure
from jotunheim.sandbox.faults import ActiveFault
from jotunheim.sandbox.requestlog import Entry, masked
from jotunheim.sandbox.validation import verify
from jotunheim.sandbox.world import World, offline

log = logging.getLogger("jotunheim.sandbox")

PREFIX = "/api2/json"
TAKES_REST = ("/content/", "/ipset/")
TICKET_ONLY = {("PUT", "/access/password")}
"""Methods that no API token may call, whatever it may do."""
KNOWN_METHODS = ("GET", "POST", "PUT", "DELETE")


class PveServer:
    """The PVE API as an aiohttp application."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.app = web.Application(client_max_size=uploads.LARGEST_BODY)
        self.app.router.add_route("*", r"/{path:[\s\S]*}", self.handle)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request, with its faults and its line in the request log."""
        raw = request.rel_url.raw_path
        path = unquote(raw.removeprefix(PREFIX)) or "/"
        entry = self.world.requests.begin(request.method, path, request.headers.get("User-Agent"))
        began = time.perf_counter()
        strike = self.world.faults.strike(entry.index, request.method, path)
        entry.fault = strike.id if strike else None
        try:
            response = await self._with_fault(request, path, entry, strike)
        except ConnectionResetError:
            entry.status = -1
            raise
        finally:
            entry.duration_ms = round((time.perf_counter() - began) * 1000, 3)
        entry.status, entry.reason = response.status, response.reason or ""
        if not response.prepared:
            response.headers["Server"] = "pve-api-daemon/3.0"
        return response

    async def _with_fault(
        self, request: web.Request, path: str, entry: Entry, strike: ActiveFault | None
    ) -> web.StreamResponse:
        if strike is None:
            return await self._answer(request, path, entry, None)
        fault = strike.fault
        if fault.when == "before":
            replaced = await self._strike(request, strike)
            return replaced or await self._answer(request, path, entry, strike)
        response = await self._answer(request, path, entry, strike)
        return await self._strike(request, strike) or response

    async def _strike(self, request: web.Request, strike: ActiveFault) -> web.StreamResponse | None:
        """Let the fault act. Returns the answer that takes the place of the real one, if any."""
        fault = strike.fault
        if fault.delay:
            await asyncio.sleep(fault.delay)
        if fault.silent:
            strike.silenced += 1
            await asyncio.get_running_loop().create_future()
        if fault.reset:
            if request.transport:
                request.transport.abort()
            raise ConnectionResetError
        if fault.status is None:
            return None
        return error_response(ApiError(fault.status, fault.message, bare=fault.empty or not fault.message))

    async def _answer(
        self, request: web.Request, path: str, entry: Entry, strike: ActiveFault | None
    ) -> web.StreamResponse:
        try:
            data = await self._call(request, path, entry, strike)
        except ApiError as error:
            return error_response(error)
        except ConnectionResetError:
            raise
        except web.RequestPayloadError as error:  # cut short, or not encoded as it says
            return error_response(ApiError(400, str(error), bare=True))
        except Exception:
            log.exception("%s %s broke the sandbox", request.method, path)
            return error_response(failure("the sandbox broke, see its log"))
        if isinstance(data, web.StreamResponse):
            return data
        body = {"data": data.data, **data.extra} if isinstance(data, Answer) else {"data": data}
        return web.Response(
            body=_json(body),
            headers={"Content-Type": "application/json;charset=UTF-8"},
        )

    async def _call(self, request: web.Request, path: str, entry: Entry, strike: ActiveFault | None) -> Any:
        method = request.method
        _check_line(request)
        template, path_params, info = self._route(method, path)
        world = self.world
        public = info is not None and (info.get("permissions") or {}).get("user") == "world"
        auth = Auth("") if public else await self._authenticate(request)
        entry.user = auth.owner or None
        uploads.check_body(request, path)
        if info is None:
            raise ApiError(501, f"Method '{method} {path}' not implemented")
        sent, upload = await uploads.read_params(request)
        entry.params = masked(method, sent)
        if path_params.get("node") == "localhost":
            path_params["node"] = next(iter(world.state.nodes))
        raw = _with_path(sent, path_params)
        if auth.token and (method, template) in TICKET_ONLY:
            why = f"URI '{path}' not available with API token, need proper ticket.\n"
            raise ApiError(403, f"{access.REFUSED} ({why})")
        access.check_declared(world.state, auth, info.get("permissions"), raw)
        self._check_node(path_params.get("node"))
        params, errors = verify(info.get("parameters") or {}, raw)
        if errors:
            raise bad_parameters(errors)
        handler = HANDLERS.get((method, template))
        ignored = unmodelled.parameter(method, template, params)
        if handler is None or ignored:
            entry.modelled = False
            what = f"'{method} {template}'" if handler is None else f"'{ignored}' of '{method} {template}'"
            log.warning("not modelled: %s", what)
            raise ApiError(501, f"the sandbox does not model {what}")
        call = Call(world, auth, params, request, strike.fault.for_task if strike else None, upload, sent)
        return await handler(call)

    def _route(self, method: str, path: str) -> tuple[str, dict[str, str], dict[str, Any] | None]:
        """The schema's template, path parameters and method of a path."""
        schema = pve84.load()
        match = schema.match(path)
        if match is None:
            match = schema.match(_folded(path))
            if match is not None:
                match.params = {name: value.replace("\0", "/") for name, value in match.params.items()}
        if match is None:
            return path, {}, None
        return match.template, match.params, match.methods.get(method)

    async def _authenticate(self, request: web.Request) -> Auth:
        state = self.world.state
        header = request.headers.get("Authorization", "")
        if header.startswith("PVEAPIToken"):
            auth = access.token_auth(state, header)
            if auth:
                return auth
            raise await self._unauthorized("Authentication failed!")
        cookie = request.cookies.get("PVEAuthCookie") or header.partition("PVEAuthCookie=")[2]
        ticket = unquote(cookie)
        if not ticket:
            raise await self._unauthorized("No ticket")
        auth = access.ticket_auth(state, ticket)
        if auth is None:
            raise await self._unauthorized("Authentication failed!")
        csrf = request.headers.get("CSRFPreventionToken", "")
        if request.method not in ("GET", "HEAD") and not access.csrf_valid(state, csrf, auth.user):
            raise await self._unauthorized("Permission denied - invalid csrf token")
        return auth

    async def _unauthorized(self, message: str) -> ApiError:
        await self.world.sleep("auth_failure")
        return ApiError(401, message, bare=True)

    def _check_node(self, name: str | None) -> None:
        if name is None:
            return
        node = self.world.state.nodes.get(name)
        if node is None:
            why = f"failed to get address info for: {name}: Name or service not known"
            raise failure(f"hostname lookup '{name}' failed - {why}")
        if not node.online:
            raise offline()


def _check_line(request: web.Request) -> None:
    """Refuse what PVE's HTTP server knows no page or method for."""
    path = request.rel_url.raw_path
    if request.method not in KNOWN_METHODS:
        raise ApiError(501, f"method '{request.method}' not available", bare=True)
    if not path.startswith("/api2"):
        raise ApiError(501, f"no such file '{unquote(path)}'", bare=True)
    if path != PREFIX and not path.startswith(f"{PREFIX}/"):
        raise ApiError(501, "no such uri", bare=True)


def _json(body: dict[str, Any]) -> bytes:
    return json.dumps(body, ensure_ascii=False).encode(errors="replace")


def _with_path(sent: dict[str, Any], path_params: dict[str, str]) -> dict[str, Any]:
    """All parameters; one that contradicts the path is refused."""
    clashes = [name for name, value in path_params.items() if name in sent and str(sent[name]) != value]
    if clashes:
        why = "duplicate parameter (already defined in URI) with conflicting values!"
        raise bad_parameters({sorted(clashes)[0]: why})
    return {**sent, **path_params}


def error_response(error: ApiError) -> web.Response:
    """PVE's answer to an error: the message is the reason phrase, and the body unless it is bare."""
    first_line = error.message.strip().split("\n")[0] or "unknown error"
    reason = "".join(char if char.isprintable() else " " for char in first_line)
    if error.bare:
        return web.Response(status=error.status, reason=reason)
    # PVE's router answers 501 itself, without the newline that `die` appends
    ending = "" if error.status == 501 else "\n"
    body: dict[str, Any] = {"data": None, "message": error.message + ending}
    if error.errors:
        body["errors"] = error.errors
    return web.Response(
        status=error.status,
        reason=reason,
        body=_json(body),
        headers={"Content-Type": "application/json;charset=UTF-8"},
    )


def _folded(path: str) -> str:
    """The path with the slashes inside a volume id or CIDR hidden from the schema's matcher."""
    for marker in TAKES_REST:
        before, found, rest = path.partition(marker)
        if found and marker == "/ipset/":
            name, slash, cidr = rest.partition("/")
            return f"{before}{marker}{name}{slash}" + cidr.replace("/", "\0")
        if found:
            return f"{before}{marker}" + rest.replace("/", "\0")
    return path
