"""The options of `jotunheim sandbox`, checked: a bad one is refused with its name."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

GUESTS = ("none", "process")
MAX_NODES = 32
STORAGE_NAME = r"^[A-Za-z][A-Za-z0-9\-_.]*[A-Za-z0-9]$"
TAKEN = ("local", "vmstore", "shared")
"""Names of storages that a new state has, or may have."""


class OptionError(ValueError):
    """A bad option; the message begins with its name."""


@dataclass(frozen=True)
class Endpoint:
    """An address to listen on. Port 0 is any free port."""

    host: str
    port: int

    @property
    def url_host(self) -> str:
        """The host as a URL has it: an IPv6 address in brackets."""
        return f"[{self.host}]" if ":" in self.host else self.host


@dataclass(frozen=True)
class Options:
    """What to run."""

    listen: Endpoint
    control: Endpoint
    time_scale: float
    nodes: int
    state_file: Path | None
    guests: bool
    """Whether VMs have real guests."""
    pbs: tuple[str, ...] = ()
    """Storages of type pbs of a new state."""


def parse_endpoint(option: str, text: str) -> Endpoint:
    """`127.0.0.1:8006` -> Endpoint.

    Raises:
        OptionError: no HOST:PORT, or no such port.
    """
    host, colon, port = text.rpartition(":")
    host = host.strip("[]")
    if not colon or not host:
        raise OptionError(f"{option}: '{text}' is not HOST:PORT")
    if not port.isdigit() or int(port) > 65535:
        raise OptionError(f"{option}: '{port}' is not a port (0-65535; 0 is any free port)")
    return Endpoint(host, int(port))


def parse_options(
    *,
    listen: str,
    control: str,
    time_scale: float,
    nodes: int,
    guests: str,
    state: Path | None,
    pbs: Sequence[str] = (),
) -> Options:
    """Check all options of the command line.

    Raises:
        OptionError: the first bad option.
    """
    if guests not in GUESTS:
        raise OptionError(f"--guests: '{guests}' is not one of {', '.join(GUESTS)}")
    if not 0 <= time_scale <= 1000:
        raise OptionError(f"--time-scale: {time_scale:g} is not between 0 and 1000")
    if not 1 <= nodes <= MAX_NODES:
        raise OptionError(f"--nodes: {nodes} is not between 1 and {MAX_NODES}")
    for name in pbs:
        if not re.fullmatch(STORAGE_NAME, name):
            raise OptionError(f"--pbs: '{name}' is no name of a storage")
        if name in TAKEN or list(pbs).count(name) > 1:
            raise OptionError(f"--pbs: there is a storage '{name}' already")
    if state is not None and state.is_dir():
        raise OptionError(f"--state: '{state}' is a folder")
    if state is not None and not state.absolute().parent.is_dir():
        raise OptionError(f"--state: the folder '{state.absolute().parent}' does not exist")
    return Options(
        parse_endpoint("--listen", listen),
        parse_endpoint("--control", control),
        time_scale,
        nodes,
        state,
        guests == "process",
        tuple(pbs),
    )
