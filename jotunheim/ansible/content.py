"""What a run is made of besides its inventory: the playbook, its roles, the collection, and installed versions."""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path

from jotunheim.ansible import paths, playbooks

PACKAGE = "jotunheim"
_PACKAGE_NAME = re.compile(r"[A-Za-z0-9._-]+")


def files(playbook: str) -> dict[str, bytes]:
    """The files that a playbook needs, by their paths in a folder of its own, sorted.

    The folder is laid out as `playbooks/`, `roles/` and `collections/`. What is missing is left out: Ansible says so.
    """
    found = {f"playbooks/{playbook}": paths.PLAYBOOKS / playbook}
    for role in playbooks.roles(playbook):
        found |= {f"roles/{role}/{name}": file for name, file in _tree(paths.ROLES / role)}
    found |= {f"collections/{name}": file for name, file in _tree(paths.COLLECTIONS)}
    return {name: found[name].read_bytes() for name in sorted(found) if found[name].is_file()}


def digest(contents: Mapping[str, bytes]) -> str:
    """SHA-256 over names and contents: two runs of the same digest used the same files."""
    total = hashlib.sha256()
    for name, content in contents.items():
        total.update(f"{name}\0{len(content)}\0".encode() + content)
    return total.hexdigest()


@cache
def versions() -> Mapping[str, str]:
    """The installed versions of Jotunheim and of the packages that it requires, by name."""
    required = [line for line in metadata.requires(PACKAGE) or [] if "extra ==" not in line]
    names = sorted(match[0] for line in required if (match := _PACKAGE_NAME.match(line)))
    return {name: metadata.version(name) for name in (PACKAGE, *names)}


def _tree(folder: Path) -> Iterator[tuple[str, Path]]:
    # Every run passes here: os.walk takes a fraction of the time of Path.rglob.
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != "__pycache__"]
        for name in names:
            file = Path(parent, name)
            yield file.relative_to(folder).as_posix(), file
