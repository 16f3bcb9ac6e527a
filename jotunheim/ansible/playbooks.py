"""What a playbook consists of, read from its files."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from jotunheim.ansible import paths


def step_count(playbook: str) -> int:
    """How many tasks the roles of a playbook have: the steps that a job will show.

    What cannot be read counts nothing: Ansible says better what is wrong with it.
    """
    return sum(len(_read(paths.ROLES / role / "tasks" / "main.yml")) for role in roles(playbook))


def roles(playbook: str) -> tuple[str, ...]:
    """The names of a playbook's roles, in the order in which they run; none of a playbook that cannot be read."""
    named = (
        entry.get("role") if isinstance(entry, dict) else entry
        for play in _read(paths.PLAYBOOKS / playbook)
        if isinstance(play, dict)
        for entry in play.get("roles") or []
    )
    return tuple(str(name) for name in named if name)


def _read(file: Path) -> list[Any]:
    try:
        return _parsed(file, file.stat().st_mtime_ns)
    except (OSError, ValueError, yaml.YAMLError):
        return []


@lru_cache(maxsize=256)
def _parsed(file: Path, changed: int) -> list[Any]:  # noqa: ARG001 - an upgraded file is read anew
    document = yaml.safe_load(file.read_text())
    return document if isinstance(document, list) else []
