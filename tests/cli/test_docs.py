"""docs/cli.md describes every command and option that there is."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from jotunheim.cli import app

TEXT = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()


def commands() -> Iterator[tuple[str, set[str]]]:
    """Name and long options of every command."""
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        for path, leaf in getattr(command, "commands", {"": command}).items():
            options = {option for param in leaf.params for option in [*param.opts, *param.secondary_opts]}
            yield f"{name} {path}".strip(), {option for option in options if option.startswith("--")}


@pytest.mark.parametrize(("command", "options"), list(commands()))
def test_command_is_described_with_its_options(command: str, options: set[str]) -> None:
    noun = command.split()[0]
    [section] = [title for title in re.findall(r"^## (.*)$", TEXT, re.MULTILINE) if noun in title.split(", ")]
    body = TEXT.split(f"## {section}\n")[1].split("\n## ")[0]
    assert f"jotunheim {command}" in body or command == "sandbox"
    described = set(re.findall(r"--[a-z0-9-]+", body)) | {"--json", "--help"}
    assert options <= described
