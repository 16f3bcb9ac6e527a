"""PostgreSQL and Redis on loopback with throw-away data, for the tests that need them."""

import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.processes import free_port

REQUIRE = "TEST_SERVICES_REQUIRED"


@contextmanager
def postgresql(directory: Path) -> Iterator[str]:
    """A PostgreSQL server; gives the URL of an empty database on it."""
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not binaries:
        missing("PostgreSQL (Debian: postgresql)")
    tools = binaries[-1].parent
    # initdb refuses to run as root.
    user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    data = directory / "data"
    data.mkdir(mode=0o700)
    if os.geteuid() == 0:
        shutil.chown(data, user)
        for parent in (directory, *directory.parents):
            if parent.stat().st_uid == 0 and parent.stat().st_mode & 0o001 == 0:
                parent.chmod(parent.stat().st_mode | 0o011)
    port = free_port()
    _run(
        [str(tools / "initdb"), "-D", str(data), "-U", "jotunheim", "-A", "trust", "--no-sync", "-E", "UTF8"],
        user,
    )
    with (directory / "postgres.log").open("w") as log:
        server = subprocess.Popen(
            [tools / "postgres", "-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", "", "-c", "fsync=off"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            user=user,
        )
    try:
        deadline = time.monotonic() + 30
        while subprocess.run(
            [tools / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)], check=False
        ).returncode:
            assert time.monotonic() < deadline, (directory / "postgres.log").read_text()
            assert server.poll() is None, (directory / "postgres.log").read_text()
            time.sleep(0.1)
        _run(
            [str(tools / "createdb"), "-h", "127.0.0.1", "-p", str(port), "-U", "jotunheim", "jotunheim"],
            user,
        )
        yield f"postgresql://jotunheim:canary-db-pa55@127.0.0.1:{port}/jotunheim"
    finally:
        server.terminate()
        server.wait(20)


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


def missing(what: str) -> None:
    """Skip the test for want of a service; where services are required, fail it."""
    if os.environ.get(REQUIRE):
        pytest.fail(f"{what} is not installed, and {REQUIRE} is set")
    pytest.skip(f"needs {what}")


def _run(command: list[str], user: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, user=user, check=False, cwd="/")
    assert done.returncode == 0, done.stderr
