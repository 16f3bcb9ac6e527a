"""Running a sandbox: state file, TLS, the two ports, signals, and the command that it may serve."""

import asyncio
import json
import logging
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from jotunheim.sandbox import state as state_module
from jotunheim.sandbox.control import ControlServer
from jotunheim.sandbox.initial import TEMPLATE_VMID, TOKEN_NAME, USER, initial_state
from jotunheim.sandbox.options import Endpoint, OptionError, Options
from jotunheim.sandbox.server import PveServer
from jotunheim.sandbox.settings import Settings
from jotunheim.sandbox.state import State
from jotunheim.sandbox.tls import Identity, load_or_make
from jotunheim.sandbox.world import World

log = logging.getLogger("jotunheim.sandbox")

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
COMMAND_NOT_FOUND = 127


class StartError(RuntimeError):
    """The sandbox cannot start; the message says why."""


async def run(options: Options, command: Sequence[str]) -> int:
    """Run until a signal comes, or as long as the command runs. Returns the exit code."""
    state = read_state(options)
    with tempfile.TemporaryDirectory(prefix="jotunheim-sandbox-") as temporary:
        folder = _identity_folder(options, Path(temporary))
        identity = load_or_make(folder, options.listen.host)
        world = World(
            state, Settings(time_scale=options.time_scale), identity.fingerprint, identity.certificate_pem
        )
        async with guests_of(options, world), serving(options, world, identity) as ready:
            try:
                if command:
                    return await _run_command(command, ready)
                stop = _on_signal()
                print(json.dumps(ready), flush=True)  # noqa: T201 - the ready line is this command's output
                await stop.wait()
            finally:
                if options.state_file:
                    write_state(options.state_file, world)
    return 0


@asynccontextmanager
async def guests_of(options: Options, world: World) -> AsyncIterator[None]:
    """The guests of the VMs, if they are to have any.

    Raises:
        OptionError: they cannot be had on this system.
    """
    if not options.guests:
        yield
        return
    from jotunheim.sandbox.guests.link import GuestsUnavailableError
    from jotunheim.sandbox.guests.manager import Guests

    guests = Guests(world)
    try:
        await guests.start()
    except GuestsUnavailableError as error:
        raise OptionError(f"--guests: 'process' is not possible here: {error}") from error
    world.begin_guests(guests)
    try:
        yield
    finally:
        await guests.close()


def read_state(options: Options) -> State:
    """The state of the file, or a new one.

    Raises:
        OptionError: the file holds no state.
    """
    if options.state_file is None or not options.state_file.exists():
        return initial_state(options.nodes, options.pbs)
    try:
        return state_module.load(json.loads(options.state_file.read_text()))
    except (OSError, ValueError) as error:
        raise OptionError(f"--state: '{options.state_file}' holds no state: {error}") from error


def write_state(file: Path, world: World) -> None:
    """Save the state; readable by its owner alone, for it holds the token."""
    temporary = file.with_name(file.name + ".new")
    temporary.touch(mode=0o600)
    temporary.write_text(json.dumps(world.dump()))
    temporary.replace(file)


def _identity_folder(options: Options, temporary: Path) -> Path:
    if options.state_file is None:
        return temporary
    folder = options.state_file.absolute().with_name(options.state_file.name + ".tls")
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


@asynccontextmanager
async def serving(options: Options, world: World, identity: Identity) -> AsyncIterator[dict[str, Any]]:
    """Both ports, open. Yields what the ready line says."""
    pve = web.AppRunner(PveServer(world).app, access_log=None, shutdown_timeout=0.1)
    control = web.AppRunner(ControlServer(world).app, access_log=None, shutdown_timeout=0.1)
    await pve.setup()
    await control.setup()
    try:
        port = await _listen(pve, options.listen, "--listen", identity)
        control_port = await _listen(control, options.control, "--control", None)
        yield _ready_line(options, world.state, identity, port, control_port)
    finally:
        await world.tasks.close()
        await pve.cleanup()
        await control.cleanup()


async def _listen(runner: web.AppRunner, where: Endpoint, option: str, identity: Identity | None) -> int:
    context = identity.context() if identity else None
    site = web.TCPSite(runner, where.host, where.port, ssl_context=context)
    try:
        await site.start()
    except OSError as error:
        why = error.strerror or str(error)
        raise StartError(f"{option}: cannot listen on {where.host} port {where.port}: {why}") from error
    return int(runner.addresses[0][1])


def _ready_line(
    options: Options, state: State, identity: Identity, port: int, control_port: int
) -> dict[str, Any]:
    root = state.users[USER]
    token = root.tokens.get(TOKEN_NAME)
    return {
        "url": f"https://{options.listen.url_host}:{port}",
        "control_url": f"http://{options.control.url_host}:{control_port}",
        "token_id": f"{USER}!{TOKEN_NAME}",
        "token_secret": token.secret if token else None,
        "user": USER,
        "password": root.password,
        "ca_pem_file": str(identity.ca_file),
        "fingerprint": identity.fingerprint,
        "nodes": list(state.nodes),
        "storages": sorted(state.storages, reverse=True),
        "template_vmid": TEMPLATE_VMID,
    }


def _on_signal() -> asyncio.Event:
    """An event that the stop signals set."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, stop.set)
    return stop


async def _run_command(command: Sequence[str], ready: dict[str, Any]) -> int:
    """Run a command with the sandbox's address in its environment; signals go on to it."""
    variables = {f"SANDBOX_{name.upper()}": _text(value) for name, value in ready.items()}
    try:
        process = await asyncio.create_subprocess_exec(*command, env=os.environ | variables)
    except OSError as error:
        log.warning("cannot run %s: %s", command[0], error.strerror)
        return COMMAND_NOT_FOUND
    loop = asyncio.get_running_loop()
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, process.send_signal, number)
    code = await process.wait()
    return 128 - code if code < 0 else code


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
