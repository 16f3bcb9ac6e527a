"""One sandbox for the tests of the sandbox: quick, and set back before each test."""

from collections.abc import Iterator

import pytest

from tests.sandbox.requests import Pve
from tests.support.sandbox import Sandbox


@pytest.fixture(scope="session")
def shared_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox with one node, at time scale 0."""
    with Sandbox.start(tmp_path_factory.mktemp("sandbox-tests"), time_scale=0) as started:
        yield started


@pytest.fixture
def pve(shared_sandbox: Sandbox) -> Pve:
    """The shared sandbox in its first state, at time scale 0."""
    shared_sandbox.control.post("/reset").raise_for_status()
    shared_sandbox.control.patch("/settings", json={"time_scale": 0}).raise_for_status()
    return Pve(shared_sandbox)
