#!/usr/bin/env python3
"""Starts the run that is described beside this file; further options go to `ansible-playbook`.

A copy of this file is the program `run` of each bundle. So it needs nothing but Python.
"""

import argparse
import getpass
import json
import os
from pathlib import Path

DESCRIPTION = "run.json"


def main() -> None:
    """Entry point."""
    folder = Path(__file__).resolve().parent
    described = json.loads((folder / DESCRIPTION).read_text())
    parser = argparse.ArgumentParser(description="Does a recorded run again.", allow_abbrev=False)
    parser.add_argument(
        "--ask-secrets",
        action="store_true",
        help="ask for the secrets that no environment variable gives, instead of reading them from the store",
    )
    options, further = parser.parse_known_args()
    environment = {**os.environ, "ANSIBLE_CONFIG": str(folder / "ansible.cfg")}
    for secret in described["secrets"] if options.ask_secrets else []:
        if secret["variable"] not in environment:
            note = " (was erased; empty: not set again)" if secret["forgotten"] else ""
            environment[secret["variable"]] = getpass.getpass(f"{secret['name']}{note}: ")
    os.chdir(folder)
    command = [*described["command"], *further]
    os.execvpe(command[0], command, environment)  # noqa: S606 - a program and its arguments, no shell


if __name__ == "__main__":
    main()
