"""Errors as HTTP answers: one shape, and a status for each code of the closed list.

{"error": {"code", "message", "details": [{"field", "message"}], "request_id"}}
"""

import logging

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from jotunheim.exceptions import JotunheimError
from jotunheim.exceptions.model import MAX_FIELD, DataValidationError, FieldProblem
from jotunheim.exceptions.service import ServiceError

STATUS = {
    "invalid_input": 422,
    "unauthorized": 401,
    "forbidden": 403,
    "not_found": 404,
    "conflict": 409,
    "locked": 409,
    "protected": 409,
    "uniqueness_error": 409,
    "placement_error": 409,
    "resource_limit_exceeded": 409,
    "precondition_failed": 412,
    "payload_too_large": 413,
    "rate_limit_exceeded": 429,
    "node_unavailable": 503,
    "maintenance": 503,
    "internal": 500,
}
_CODE_BY_STATUS = {
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "not_found",
    413: "payload_too_large",
}

log = logging.getLogger(__name__)


class PayloadTooLargeError(JotunheimError):
    """The request body is larger than the service reads."""

    code = "payload_too_large"


def answer(error: JotunheimError, request_id: str) -> JSONResponse:
    """An error as the API answers it. A code outside the closed list is ours to handle: it becomes `internal`."""
    code = error.code if error.code in STATUS else "internal"
    details: tuple[FieldProblem, ...] = ()
    if isinstance(error, DataValidationError):
        details = error.problems
    elif isinstance(error, ServiceError):
        details = error.details
    message = f"{error.message} {error.hint}" if error.hint else error.message
    response = _response(STATUS[code], code, message, details, request_id)
    if isinstance(error, ServiceError) and error.retry_after_seconds is not None:
        response.headers["Retry-After"] = str(error.retry_after_seconds)
    return response


async def on_jotunheim_error(request: Request, error: Exception) -> Response:
    """Starlette's handler for errors raised on purpose."""
    assert isinstance(error, JotunheimError)
    response = answer(error, request.state.request_id)
    if response.status_code == 500:
        log.error("Unexpected %s: %s", type(error).__name__, error.message)
    return response


async def on_http_exception(request: Request, error: Exception) -> Response:
    """Starlette's handler for its own errors: unknown paths and methods."""
    assert isinstance(error, HTTPException)
    code = _CODE_BY_STATUS.get(error.status_code, "invalid_input" if error.status_code < 500 else "internal")
    path = request.scope["path"][:MAX_FIELD]  # not of `request.url`, where a Host header has a say
    message = {
        404: f"There is nothing at {path}.",
        405: f"{request.method[:MAX_FIELD]} is not possible at {path}.",
    }.get(error.status_code, error.detail)
    response = _response(error.status_code, code, message, (), request.state.request_id)
    response.headers.update(error.headers or {})
    return response


def internal_error(request_id: str) -> Response:
    """The answer to a request that broke something: it says nothing about what."""
    return _response(
        500, "internal", "Something went wrong; the log knows more under this request id.", (), request_id
    )


def _response(
    status: int, code: str, message: str, details: tuple[FieldProblem, ...], request_id: str
) -> JSONResponse:
    return JSONResponse(
        {
            "error": {
                "code": code,
                "message": message,
                "details": [{"field": detail.field, "message": detail.message} for detail in details],
                "request_id": request_id,
            }
        },
        status_code=status,
        headers={"WWW-Authenticate": "Bearer"} if status == 401 else None,
    )
