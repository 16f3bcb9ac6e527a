"""What import-linter cannot see: the collection's plugins lie outside of the package tree."""

import ast
from pathlib import Path

import yaml

from jotunheim.ansible import paths

ALLOWED = ("jotunheim.repositories", "jotunheim.exceptions", "jotunheim.lifeline", "jotunheim.bounded")
INVENTORY = (*ALLOWED, "jotunheim.ansible")
"""What the inventory plugin may import: it gives the variables that jobs are given, and they are made there."""


def _imported(file: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


def test_plugins_import_repositories_and_nothing_above_them() -> None:
    files = list((paths.COLLECTIONS / "ansible_collections").rglob("*.py"))
    assert len(files) > 10
    ours = {
        (file.name, name)
        for file in files
        for name in _imported(file)
        if name.split(".")[0] == "jotunheim"
        and not name.startswith(INVENTORY if file.parent.name == "inventory" else ALLOWED)
    }
    assert ours == set()


def test_roles_are_flat_lists_of_tasks() -> None:
    """A job that shares a run has ended when so many tasks have: `playbooks.step_count`, `ansible/batches.py`."""
    nested = {"block", "include_tasks", "import_tasks", "include_role", "import_role", "meta", "notify"}
    files = sorted(paths.ROLES.glob("*/tasks/*.yml"))
    assert files
    for file in files:
        assert file.name == "main.yml"
        for task in yaml.safe_load(file.read_text()):
            used = {key.rpartition(".")[2] for key in task}
            assert used.isdisjoint(nested), (file, task)
    for file in paths.PLAYBOOKS.glob("*.yml"):
        plays = yaml.safe_load(file.read_text())
        assert all(play.keys().isdisjoint({"tasks", "pre_tasks", "post_tasks", "handlers"}) for play in plays)
