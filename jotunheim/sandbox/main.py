"""The sandbox's side of the command line: options in, exit code out."""

import asyncio
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from jotunheim.sandbox.options import OptionError, parse_options
from jotunheim.sandbox.runner import StartError, run

BAD_USAGE = 2
START_FAILED = 1


def main(
    *,
    listen: str,
    control: str,
    time_scale: float,
    nodes: int,
    guests: str,
    pbs: Sequence[str] = (),
    state: Path | None,
    command: Sequence[str],
) -> int:
    """Run a sandbox. Returns the exit code: 2 for a bad option, 1 if it cannot start, else the command's."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="sandbox: %(message)s")
    try:
        options = parse_options(
            listen=listen,
            control=control,
            time_scale=time_scale,
            nodes=nodes,
            guests=guests,
            pbs=pbs,
            state=state,
        )
        return asyncio.run(run(options, command))
    except OptionError as error:
        sys.stderr.write(f"{error}\n")
        return BAD_USAGE
    except StartError as error:
        sys.stderr.write(f"{error}\n")
        return START_FAILED
