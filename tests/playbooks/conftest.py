"""A sandbox process for the session."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.playbooks.pve_playbooks import ROOT, Playbooks, Sandbox

START_SANDBOX = (
    "import sys; from jotunheim.sandbox.main import main; sys.exit(main(listen='127.0.0.1:0', "
    "control='127.0.0.1:0', time_scale=0.02, nodes=1, guests='none', state=None, command=[]))"
)


@pytest.fixture(scope="session")
def sandbox_process() -> Iterator[Sandbox]:
    """One stand-in for all tests of the session."""
    process = subprocess.Popen(
        [sys.executable, "-c", START_SANDBOX],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    yield Sandbox(json.loads(process.stdout.readline()))
    process.terminate()
    process.communicate(timeout=10)


@pytest.fixture
def sandbox(sandbox_process: Sandbox) -> Sandbox:
    """The stand-in in its first state."""
    sandbox_process.reset()
    return sandbox_process


@pytest.fixture
def playbooks(sandbox: Sandbox, tmp_path: Path) -> Playbooks:
    """Playbooks against the stand-in."""
    return Playbooks(sandbox, tmp_path)
