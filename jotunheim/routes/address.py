"""Where a request comes from."""

from starlette.requests import Request


def client_address(request: Request) -> str | None:
    """The address of whoever connected; None: it has none, as over a socket file."""
    return request.client.host if request.client else None
