"""The HTTP API as one Starlette application."""

from functools import cache
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse
from starlette.routing import Route

from jotunheim.bootstrap import api
from jotunheim.exceptions import JotunheimError
from jotunheim.exceptions.http import on_http_exception, on_jotunheim_error
from jotunheim.routes import api_admin, api_auth, api_client, health, openapi, operation
from jotunheim.routes.middleware import RequestMiddleware
from jotunheim.settings import Settings


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
            headers={"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"},
        )

    app = Starlette(
        routes=[
            *health.routes,
            Route(f"{openapi.PREFIX}/openapi.json", document),
            Route(f"{openapi.PREFIX}/docs", docs),
            *operation.routes(operations, openapi.PREFIX),
        ],
        middleware=[Middleware(RequestMiddleware)],
        exception_handlers={
            JotunheimError: on_jotunheim_error,
            HTTPException: on_http_exception,
        },
    )
    app.router.redirect_slashes = False  # a path is right or it is not; redirects would trust the Host header
    app.state.context = api.context(settings)
    return app
