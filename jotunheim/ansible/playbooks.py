"""What a playbook consists of, read from its files."""

from functools import cache

import yaml

from jotunheim.ansible import paths


@cache
def step_count(playbook: str) -> int:
    """How many tasks the roles of a playbook have: the steps that a job will show."""
    plays = yaml.safe_load((paths.PLAYBOOKS / playbook).read_text())
    roles = [
        entry["role"] if isinstance(entry, dict) else entry
        for play in plays
        for entry in play.get("roles", [])
    ]
    files = [paths.ROLES / role / "tasks" / "main.yml" for role in roles]
    return sum(len(yaml.safe_load(file.read_text()) or []) for file in files)
