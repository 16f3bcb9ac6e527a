"""What somebody other than root needs for guests, and is told when it is missing."""

import os
import pwd
from pathlib import Path

import pytest

from jotunheim.sandbox.guests import idmap


@pytest.fixture
def ada(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Ada runs the sandbox. Gives the folder with her system's files and programs."""
    entry = pwd.struct_passwd(("ada", "x", 1234, 1234, "", "/home/ada", "/bin/sh"))
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    monkeypatch.setattr(pwd, "getpwuid", lambda _uid: entry)
    monkeypatch.setenv("PATH", str(tmp_path))
    for name, attribute in (("subuid", "SUBUID"), ("subgid", "SUBGID")):
        (tmp_path / name).write_text("eve:100000:65536\nada:200000:1000\n")
        monkeypatch.setattr(idmap, attribute, tmp_path / name)
    for tool in ("newuidmap", "newgidmap"):
        (tmp_path / tool).write_text("#!/bin/sh\n")
        (tmp_path / tool).chmod(0o755)
    return tmp_path


def test_the_missing_program_and_its_package_are_named(ada: Path) -> None:
    (ada / "newgidmap").unlink()
    with pytest.raises(idmap.NoIdsError, match=r"newgidmap is missing \(Debian: uidmap\)"):
        idmap.find_range()


def test_the_missing_line_is_shown(ada: Path) -> None:
    with pytest.raises(idmap.NoIdsError, match="subuid gives ada no 65536 ids; add the line ada:"):
        idmap.find_range()


@pytest.mark.parametrize("who", ["ada", "1234"])
def test_a_range_of_enough_ids_is_taken(ada: Path, who: str) -> None:
    for name, first in (("subuid", 300_000), ("subgid", 400_000)):
        with (ada / name).open("a") as file:
            file.write(f"{who}:{first}:70000\n")
    assert idmap.find_range() == idmap.Range(300_000, 400_000, 65_536)
