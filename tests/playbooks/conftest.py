"""A sandbox process for the session."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.playbooks.pve_playbooks import Playbooks, Sandbox
from tests.support import sandbox as support


@pytest.fixture(scope="session")
def sandbox_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """One stand-in for all tests of the session."""
    with support.Sandbox.start(tmp_path_factory.mktemp("playbooks"), time_scale=0.02) as started:
        yield Sandbox(started.ready)


@pytest.fixture
def sandbox(sandbox_process: Sandbox) -> Iterator[Sandbox]:
    """The stand-in in its first state; afterwards every request must have been a lawful one."""
    sandbox_process.reset()
    yield sandbox_process
    sandbox_process.check_requests()


@pytest.fixture
def playbooks(sandbox: Sandbox, tmp_path: Path) -> Playbooks:
    """Playbooks against the stand-in."""
    return Playbooks(sandbox, tmp_path)
