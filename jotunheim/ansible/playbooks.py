"""What a playbook consists of, read from its files."""

from functools import cache

import yaml

from jotunheim.ansible import paths


@cache
def step_count(playbook: str) -> int:
    """How many tasks the roles of a playbook have: the steps that a job will show."""
    files = [paths.ROLES / role / "tasks" / "main.yml" for role in roles(playbook)]
    return sum(len(yaml.safe_load(file.read_text()) or []) for file in files)


@cache
def roles(playbook: str) -> tuple[str, ...]:
    """The names of a playbook's roles, in the order in which they run."""
    plays = yaml.safe_load((paths.PLAYBOOKS / playbook).read_text())
    return tuple(
        entry["role"] if isinstance(entry, dict) else entry
        for play in plays
        for entry in play.get("roles", [])
    )
