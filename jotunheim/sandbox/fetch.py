"""Fetching a URL for a node, as the `wget` that PVE runs does: bounded, and without keeping what comes."""

import asyncio
import hashlib
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
from yarl import URL

from jotunheim.sandbox.diskimages import HEAD_BYTES
from jotunheim.sandbox.errors import failure
from jotunheim.sandbox.uploads import HASHES

REDIRECTS = 5
"""How many are followed, and only to http and https."""
CONNECT_SECONDS, SILENCE_SECONDS, WHOLE_SECONDS = 10, 30, 1800
"""Real seconds until a connection is made, between two pieces of the answer, and for all of it."""
CHUNK_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Fetched:
    """A file that was read to its end."""

    size: int
    digests: dict[str, str]
    """By algorithm, in hexadecimal digits."""
    head: bytes
    """Its first bytes."""


@asynccontextmanager
async def request(method: str, url: str, *, verify: bool) -> AsyncIterator[aiohttp.ClientResponse]:
    """One request without credentials, cookies or proxies, in answer to which redirects are followed.

    Raises:
        ValueError, aiohttp.ClientError, TimeoutError: there is no answer.
    """
    limits = aiohttp.ClientTimeout(
        total=WHOLE_SECONDS, sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS
    )
    headers = {"Accept-Encoding": "identity", "User-Agent": "Wget/1.21.3"}
    async with (
        aiohttp.ClientSession(
            timeout=limits, cookie_jar=aiohttp.DummyCookieJar(), headers=headers
        ) as session,
        session.request(method, URL(url), ssl=verify, max_redirects=REDIRECTS) as answer,
    ):
        yield answer


async def fetch(url: str, target: str, *, verify: bool, room: int, say: Callable[[str], None]) -> Fetched:
    """Read a file to know its size and digests.

    Args:
        target: the file that it would be written to, for messages.
        room: bytes that fit; with more the disk is full.
        say: gets the lines of wget.

    Raises:
        ApiError: it cannot be had, with the words of PVE's task.
    """
    say(f"--{_now()}--  {url}")
    try:
        async with request("GET", url, verify=verify) as answer:
            if answer.status != 200:
                say(f"{_now()} ERROR {answer.status}: {answer.reason}.")
                say("")
                raise failure("download failed: exit code 8")
            say(f"HTTP request sent, awaiting response... 200 {answer.reason}")
            fetched = await _read(answer, target, room)
    except aiohttp.TooManyRedirects:
        raise failure(f"download failed: {REDIRECTS} redirections exceeded.") from None
    except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError, ssl.SSLError):
        host = URL(url).host
        say(f"ERROR: cannot verify {host}'s certificate.")
        raise failure(
            f"download failed: To connect to {host} insecurely, use `--no-check-certificate'."
        ) from None
    except aiohttp.ClientConnectorDNSError:
        raise failure(f"download failed: wget: unable to resolve host address '{URL(url).host}'") from None
    except aiohttp.ClientConnectorError as error:
        address = URL(url)
        why = error.os_error.strerror or "Connection refused"
        raise failure(
            f"download failed: Connecting to {address.host}:{address.port}... failed: {why}."
        ) from None
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        say(f"{_now()} Read error: {type(error).__name__}.")
        raise failure("download failed: Giving up.") from None
    say(f"{_now()} - '{target}' saved [{fetched.size}/{fetched.size}]")
    return fetched


async def _read(answer: aiohttp.ClientResponse, target: str, room: int) -> Fetched:
    hashes = {name: hashlib.new(name, usedforsecurity=False) for name in HASHES}
    size, head = 0, b""
    async for chunk in answer.content.iter_chunked(CHUNK_BYTES):
        size += len(chunk)
        head += chunk[: HEAD_BYTES - len(head)]
        if size > room:
            raise failure(f"download failed: Cannot write to '{target}' (No space left on device).")
        for each in hashes.values():
            each.update(chunk)
        await asyncio.sleep(0)
    return Fetched(size, {name: each.hexdigest() for name, each in hashes.items()}, head)


def _now() -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S")
