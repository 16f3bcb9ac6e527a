"""`jotunheim serve`, `worker` and `up`: the processes of the service."""

import errno
import logging
import resource
import socket
from typing import TYPE_CHECKING, Annotated

import typer

from jotunheim.cli.errors import CommandError
from jotunheim.cli.options import Json
from jotunheim.cli.output import print_json
from jotunheim.cli.store import drivers_of, require_schema

if TYPE_CHECKING:
    from jotunheim.settings import Settings

# Watchers of jobs hold their connections open; they come back to the next process.
SHUTDOWN_SECONDS = 5
BACKLOG = 2048
OWN_FILES = 256
"""Files that the API may need besides connections of clients: those of 40 threads to the database, the queue, modules."""

log = logging.getLogger(__name__)

Concurrency = Annotated[
    int | None, typer.Option(metavar="N", min=1, max=64, help="Runs at once; else as in the settings.")
]


def serve(as_json: Json = False) -> None:
    """Run the API. With --json, prints a line with its URL when it listens."""
    import uvicorn

    from jotunheim import settings
    from jotunheim.bootstrap.logs import configure_logging

    loaded = settings.load()
    configure_logging(loaded)
    with drivers_of(loaded):
        from jotunheim.app import create_app
    from jotunheim.routes.connection import bounded

    app = create_app(loaded)
    require_schema()
    listening = _listen(loaded.listen)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            http=bounded(loaded.http_timeout_seconds, _room_for(loaded.max_connections)),
            ws="none",
            timeout_keep_alive=loaded.http_keep_alive_seconds,
            proxy_headers=False,  # `routes.address` tells why
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        )
    )
    if as_json:
        print_json({"url": _url(listening)})
    server.run(sockets=[listening])


def worker(concurrency: Concurrency = None, as_json: Json = False) -> None:
    """Run a worker. SIGTERM lets its runs finish for `drain_seconds`; another worker goes on with the rest."""
    from jotunheim.bootstrap.logs import configure_logging

    loaded = _settings(concurrency)
    configure_logging(loaded)
    with drivers_of(loaded):
        from jotunheim.bootstrap.worker import build

    made = build(loaded)
    require_schema()
    if as_json:
        print_json({"concurrency": loaded.worker_concurrency})
    made.run()


def up(concurrency: Concurrency = None, as_json: Json = False) -> None:
    """Run API and worker together. With --json, prints a line with URL and pids when the API listens."""
    from jotunheim.cli.supervisor import Supervisor

    supervisor = Supervisor(
        _settings(concurrency),
        worker_arguments=[] if concurrency is None else ["--concurrency", str(concurrency)],
        report=print_json if as_json else None,
    )
    raise typer.Exit(supervisor.run())


def _room_for(connections: int) -> int:
    """How many connections may be open at once: so many, or as many as the process may have files besides its own."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + OWN_FILES
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < wanted:
        log.warning("This process may have %d files open: connections are bounded by that.", allowed)
    return max(allowed - OWN_FILES, 1)


def _settings(concurrency: int | None) -> "Settings":
    from jotunheim import settings

    loaded = settings.load()
    return loaded if concurrency is None else loaded.model_copy(update={"worker_concurrency": concurrency})


def _listen(address: str) -> socket.socket:
    """The listening socket for HOST:PORT; port 0 takes any free one."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, int(port)), family=family, backlog=BACKLOG)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise CommandError(
                f"Port {port} of {host} is in use.",
                code="port_in_use",
                hint=f"Stop what listens there (`ss -ltnp 'sport = :{port}'`), or set JOTUNHEIM_LISTEN.",
            ) from None
        raise CommandError(
            f"Cannot listen on {address}: {error.strerror}.",
            code="listen_failed",
            hint="Set JOTUNHEIM_LISTEN to HOST:PORT of this machine.",
        ) from None
    # Inherited by connections. Without it each answer waits 40 ms for an acknowledgement: asyncio sets
    # it only on sockets whose protocol number is given.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def _url(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
