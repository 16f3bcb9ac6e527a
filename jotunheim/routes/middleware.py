"""What happens around every request: its id, one line in the log, secure headers, and an answer whatever breaks."""

import logging
import re
import time
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jotunheim.exceptions.http import internal_error
from jotunheim.routes.address import client_address
from jotunheim.routes.headers import secure, tell_standing

_ACCEPTABLE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")

log = logging.getLogger("jotunheim.access")


class RequestMiddleware:
    """Takes the caller's `X-Request-ID`, or makes one; answers with it and logs the request under it."""

    def __init__(self, app: ASGIApp, hsts_seconds: int = 0) -> None:
        self._app = app
        self._hsts_seconds = hsts_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _ACCEPTABLE_ID.fullmatch(given) else str(uuid.uuid4())
        scope.setdefault("state", {})["request_id"] = request_id
        began = time.monotonic()
        answered = False

        async def send_with_id(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start":
                answered = True
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                secure(headers, self._hsts_seconds)
                tell_standing(headers, scope["state"].get("standing"))
                _log(scope, str(message["status"]), began, request_id)
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except ClientDisconnect:
            _log(scope, "disconnected", began, request_id)
        except Exception:
            log.exception("Unhandled error, request_id=%s", request_id)
            if answered:
                raise  # the server cuts the connection: half an answer must not look like a whole one
            await internal_error(request_id)(scope, receive, send_with_id)


def _log(scope: Scope, outcome: str, began: float, request_id: str) -> None:
    # The path is printed with repr: a caller chooses it. The query is left out.
    milliseconds = 1000 * (time.monotonic() - began)
    log.info(
        "%s %s %r %s %.1f ms request_id=%s",
        client_address(HTTPConnection(scope)) or "-",
        scope["method"],
        scope["path"],
        outcome,
        milliseconds,
        request_id,
    )
