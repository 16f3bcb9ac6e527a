"""Whether the service lives, and whether it can serve; outside of the API and without a token."""

import logging

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from jotunheim.repositories.peewee.database import pending_migrations

log = logging.getLogger(__name__)


async def healthz(request: Request) -> JSONResponse:
    """The process answers."""
    del request
    return JSONResponse({"status": "ok"})


async def readyz(request: Request) -> JSONResponse:
    """The store answers and has the schema of this version."""
    del request
    try:
        pending = await run_in_threadpool(pending_migrations)
    except Exception:
        log.exception("The store does not answer.")
        return JSONResponse({"status": "unavailable", "reason": "the store does not answer"}, status_code=503)
    if pending:
        return JSONResponse({"status": "unavailable", "reason": "run jotunheim db migrate"}, status_code=503)
    return JSONResponse({"status": "ok"})


routes = [Route("/healthz", healthz), Route("/readyz", readyz)]
