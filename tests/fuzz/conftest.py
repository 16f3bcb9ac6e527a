"""A service to be fuzzed: in the process of the tests, with the sandbox as its node, and no way out of this machine."""

import ipaddress
import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from jotunheim.repositories.proxmox import client
from tests.support import databases
from tests.support.in_process import InProcess
from tests.support.sandbox import Sandbox
from tests.support.world import World


def _is_here(host: object) -> bool:
    try:
        return ipaddress.ip_address(str(host)).is_loopback
    except ValueError:
        return False


@pytest.fixture(scope="module")
def only_loopback() -> Iterator[None]:
    """Nothing is connected to, and no name is looked up, but on this machine."""
    connect, look_up = socket.socket.connect, socket.getaddrinfo

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_here(address[0]):
            raise ConnectionRefusedError("not while fuzzing")
        connect(self, address)

    def known(host: Any, *arguments: Any, **more: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name is not None and name != "localhost" and not _is_here(name):
            raise socket.gaierror(socket.EAI_NONAME, "not while fuzzing")
        return look_up(host, *arguments, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded)
        patch.setattr(socket, "getaddrinfo", known)
        patch.setattr(client, "_RETRY_PAUSES_SECONDS", (0.0,))
        yield


@pytest.fixture(scope="module")
def database(request: pytest.FixtureRequest) -> Iterator[str]:
    """URL of the module's database: PostgreSQL where it says `ON_POSTGRESQL` and that can be had, else SQLite."""
    can_be_had = databases.postgresql_tools() is not None or databases.REQUIRE in os.environ
    if not getattr(request.module, "ON_POSTGRESQL", False) or not can_be_had:
        yield ""
        return
    with databases.postgresql() as server:
        yield server.url


@pytest.fixture(scope="module")
def world(
    only_loopback: None, database: str, sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """A service with something of every kind, and room for as many jobs as are asked for."""
    limits = {"owner_queue_limit": 1_000_000, "queue_limit": 1_000_000}
    with InProcess.start(tmp_path_factory.mktemp("fuzz"), database_url=database, **limits) as service:
        yield World.made(
            service,
            host="127.0.0.1",
            port=sandbox.port,
            token_id=sandbox.token_id,
            secret=sandbox.token_secret,
            tls_ca_pem=sandbox.ca_pem,
        )
