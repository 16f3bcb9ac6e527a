"""A service within the process of the tests: they see its statements and its store, and it speaks real HTTP."""

import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from starlette.applications import Starlette

from jotunheim.app import create_app
from jotunheim.bootstrap.store import initialize
from jotunheim.repositories.peewee.accounts import User
from jotunheim.repositories.peewee.database import database
from jotunheim.services.accounts import tokens
from jotunheim.settings import Settings
from tests.support import plain_http


@dataclass
class InProcess:
    """The application, where it listens, and its administrator's token with all scopes."""

    app: Starlette
    port: int
    token: str
    http: httpx.Client
    """With no token of its own."""

    @property
    def url(self) -> str:
        """Of the API, without a slash at its end."""
        return f"http://127.0.0.1:{self.port}/api/v1"

    @classmethod
    @contextmanager
    def start(cls, state: Path, **settings: Any) -> Iterator["InProcess"]:
        """Initialise a state directory and serve it from a thread; there is no worker."""
        unlimited = dict.fromkeys(
            ("rate_limit", "auth_failure_limit", "login_rate_limit", "login_address_rate_limit"), ""
        )
        loaded = Settings(state_dir=state, **unlimited, **settings)
        token = initialize(loaded, "admin@example.com", None)
        app = create_app(loaded)
        # With its protocol's number, as `serve` has it: asyncio then does not wait for acknowledgements.
        listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listening.bind(("127.0.0.1", 0))
        listening.listen(128)
        server = uvicorn.Server(
            uvicorn.Config(
                app, log_config=None, access_log=False, server_header=False, timeout_graceful_shutdown=1
            )
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive()
                time.sleep(0.01)
            with plain_http.Client(timeout=20) as http:
                yield cls(app, listening.getsockname()[1], token, http)
        finally:
            server.should_exit = True
            thread.join(20)
            listening.close()
            database.close()

    def user(self, email: str, role: str, *scopes: str, **columns: Any) -> tuple[User, str]:
        """A new user, and a token of theirs with these scopes."""
        user: User = User.create(email=email, name=email, role=role, **columns)
        return user, tokens.issue(user, "t", list(scopes))[1]

    def ask(
        self,
        method: str,
        path: str,
        token: str | None,
        *,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """The answer to one request below `/api/v1`."""
        sent = {"X-Request-ID": "asked", **(headers or {})}
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        return self.http.request(method, self.url + path, headers=sent, json=body)


def tables(*left_out: str) -> dict[str, list[Any]]:
    """All rows of all tables but these, to be compared: table → rows in a fixed order."""
    found = {}
    for table in database.get_tables():
        if table not in left_out:
            rows = database.execute_sql(f'SELECT * FROM "{table}"').fetchall()
            found[table] = sorted(rows, key=repr)
    return found
