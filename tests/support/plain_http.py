"""Requests without TLS, as most tests send them to a service on loopback.

httpx reads all certificate authorities for each client that it makes, and makes one for each request that is sent
without: 40 ms of processor time. These have a context that trusts nobody.
"""

import ssl
from typing import Any

import httpx

TRUSTS_NOBODY = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class Client(httpx.Client):
    """A client that only speaks plain HTTP."""

    def __init__(self, **options: Any) -> None:
        super().__init__(verify=TRUSTS_NOBODY, **options)


def request(method: str, url: str, **options: Any) -> httpx.Response:
    """The answer to one request on a connection of its own."""
    return httpx.request(method, url, verify=TRUSTS_NOBODY, **options)


def get(url: str, **options: Any) -> httpx.Response:
    """The answer to a GET likewise."""
    return request("GET", url, **options)


def post(url: str, **options: Any) -> httpx.Response:
    """The answer to a POST likewise."""
    return request("POST", url, **options)
