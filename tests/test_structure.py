"""What import-linter cannot see: the collection's plugins lie outside of the package tree."""

import ast
from pathlib import Path

from jotunheim.ansible import paths

ALLOWED = ("jotunheim.repositories", "jotunheim.exceptions", "jotunheim.lifeline", "jotunheim.bounded")


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
        if name.split(".")[0] == "jotunheim" and not name.startswith(ALLOWED)
    }
    assert ours == set()
