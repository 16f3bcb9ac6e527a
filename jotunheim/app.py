"""The HTTP API as one Starlette application."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse
from starlette.routing import Route

from jotunheim.bootstrap import api
from jotunheim.exceptions import JotunheimError
from jotunheim.exceptions.http import on_http_exception, on_jotunheim_error
from jotunheim.routes import api_admin, api_auth, api_client, health, openapi, operation
from jotunheim.routes.address import ForwardedMiddleware
from jotunheim.routes.headers import POLICY
from jotunheim.routes.middleware import RequestMiddleware
from jotunheim.settings import Settings

TAKEN_HEADERS = (
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "If-Match",
    "Last-Event-ID",
    "X-Request-ID",
)
"""What pages of other origins may send."""
ANSWERED_HEADERS = (
    "Content-Disposition",
    "ETag",
    "Idempotency-Replayed",
    "Location",
    "RateLimit-Limit",
    "RateLimit-Remaining",
    "RateLimit-Reset",
    "Retry-After",
    "X-Request-ID",
)
"""What they may read of an answer's headers."""


def create_app(settings: Settings) -> Starlette:
    """Build the application. Raises SecretError when the secret key is missing, before it serves anything."""
    operations = [*api_admin.operations, *api_client.operations, *api_auth.operations]

    # Made when somebody asks: few do, and the start would wait for it.
    @cache
    def described() -> dict[str, Any]:
        return openapi.document(operations)

    def document(request: Request) -> JSONResponse:
        del request
        return JSONResponse(described())

    def docs(request: Request) -> HTMLResponse:
        del request
        return HTMLResponse(
            openapi.page(described()),
            headers={"Content-Security-Policy": f"{POLICY}; style-src 'unsafe-inline'"},
        )

    context = api.context(settings)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(api.end, context)

    app = Starlette(
        lifespan=lifespan,
        routes=[
            *health.routes,
            Route(f"{openapi.PREFIX}/openapi.json", document),
            Route(f"{openapi.PREFIX}/docs", docs),
            *operation.routes(operations, openapi.PREFIX),
        ],
        middleware=_middleware(settings),
        exception_handlers={
            JotunheimError: on_jotunheim_error,
            HTTPException: on_http_exception,
        },
    )
    app.router.redirect_slashes = False  # a path is right or it is not; redirects would trust the Host header
    app.state.context = context
    return app


def _middleware(settings: Settings) -> list[Middleware]:
    around = [
        Middleware(ForwardedMiddleware, settings.trusted_proxies),
        Middleware(RequestMiddleware, settings.hsts_seconds),
    ]
    if settings.cors_origins:
        # Without credentials: a page shows a token; a session's cookie is for pages of our own origin.
        around.append(
            Middleware(
                CORSMiddleware,
                allow_origins=settings.cors_origins,
                allow_methods=("GET", "POST", "PUT", "PATCH", "DELETE"),
                allow_headers=TAKEN_HEADERS,
                expose_headers=ANSWERED_HEADERS,
            )
        )
    return around
