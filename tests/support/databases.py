"""PostgreSQL and Redis on loopback with throw-away data, for the tests that need them."""

import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NoReturn

import pytest

from tests.support.processes import free_port

REQUIRE = "TEST_SERVICES_REQUIRED"


@dataclass
class PostgreSQL:
    """A PostgreSQL server on loopback, with one database."""

    tools: Path
    data: Path
    user: str
    port: int
    options: Sequence[str]
    server: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        """Where its database is."""
        return f"postgresql://jotunheim:canary-db-pa55@127.0.0.1:{self.port}/jotunheim"

    @property
    def log(self) -> Path:
        """What it has to say."""
        return self.data.parent / "postgres.log"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        place = ["-D", str(self.data), "-h", "127.0.0.1", "-p", str(self.port), "-k", "", "-c", "fsync=off"]
        with self.log.open("a") as log:
            self.server = subprocess.Popen(
                [str(self.tools / "postgres"), *place, *self.options],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                user=self.user,
            )
        deadline = time.monotonic() + 30
        ask = [self.tools / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port), "-U", "jotunheim"]
        while subprocess.run(ask, check=False).returncode:
            assert time.monotonic() < deadline, self.log.read_text()
            assert self.server.poll() is None, self.log.read_text()
            time.sleep(0.1)

    def stop(self) -> None:
        """End it as a restart does: whoever is connected is cut off."""
        if self.server is not None:
            self.server.send_signal(signal.SIGINT)
            self.server.wait(20)
            self.server = None

    def restart(self, away_seconds: float) -> None:
        """Be away for a while."""
        self.stop()
        time.sleep(away_seconds)
        self.start()


def postgresql_tools() -> Path | None:
    """The folder of the newest PostgreSQL's programs; None: it is not installed."""
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return binaries[-1].parent if binaries else None


@contextmanager
def postgresql(*options: str) -> Iterator[PostgreSQL]:
    """A PostgreSQL server with an empty database.

    Not below pytest's own folder: root's is closed to others, and each pytest that starts closes it again.

    Args:
        options: for the server, e.g. `-c`, `max_connections=40`.
    """
    tools = postgresql_tools()
    if tools is None:
        missing("PostgreSQL (Debian: postgresql)")
    # initdb refuses to run as root.
    user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    with TemporaryDirectory(prefix="jotunheim-postgresql-") as directory:
        data = Path(directory) / "data"
        data.mkdir(mode=0o700)
        if os.geteuid() == 0:
            Path(directory).chmod(0o711)
            shutil.chown(data, user)
        as_owner = ["-U", "jotunheim", "-A", "trust", "--no-sync", "-E", "UTF8"]
        _run([str(tools / "initdb"), "-D", str(data), *as_owner], user)
        server = PostgreSQL(tools, data, user, free_port(), options)
        server.start()
        try:
            where = ["-h", "127.0.0.1", "-p", str(server.port), "-U", "jotunheim"]
            _run([str(tools / "createdb"), *where, "jotunheim"], user)
            yield server
        finally:
            server.stop()


@contextmanager
def redis(directory: Path) -> Iterator[str]:
    """A Redis server; gives its URL."""
    binary = shutil.which("redis-server")
    if binary is None:
        missing("Redis (Debian: redis-server)")
    port = free_port()
    options = [
        "--bind",
        "127.0.0.1",
        "--port",
        str(port),
        "--save",
        "",
        "--appendonly",
        "no",
        "--dir",
        str(directory),
    ]
    server = subprocess.Popen([str(binary), *options], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        server.terminate()
        server.wait(20)


def missing(what: str) -> NoReturn:
    """Skip the test for want of a service; where services are required, fail it."""
    if os.environ.get(REQUIRE):
        pytest.fail(f"{what} is not installed, and {REQUIRE} is set")
    pytest.skip(f"needs {what}")


def _run(command: list[str], user: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, user=user, check=False, cwd="/")
    assert done.returncode == 0, done.stderr
