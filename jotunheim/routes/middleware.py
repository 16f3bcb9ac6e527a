"""What happens around every request: its id, and one line in the log."""

import logging
import re
import time
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_ACCEPTABLE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")

log = logging.getLogger("jotunheim.access")


class RequestIdMiddleware:
    """Takes the caller's `X-Request-ID`, or makes one; answers with it and logs the request under it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _ACCEPTABLE_ID.fullmatch(given) else str(uuid.uuid4())
        scope.setdefault("state", {})["request_id"] = request_id
        started = time.monotonic()

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
                # The path is printed with repr: a caller chooses it. The query is left out.
                log.info(
                    "%s %r %s %.1f ms request_id=%s",
                    scope["method"],
                    scope["path"],
                    message["status"],
                    1000 * (time.monotonic() - started),
                    request_id,
                )
            await send(message)

        await self._app(scope, receive, send_with_id)
