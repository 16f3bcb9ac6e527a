"""A sandbox process for the session."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from jotunheim.ansible.warm import WarmAnsible
from jotunheim.repositories.proxmox import tasks
from tests.playbooks.pve_playbooks import ENVIRONMENT, Playbooks, Sandbox
from tests.playbooks.pve_rebuilds import Scene, stage
from tests.playbooks.pve_templates import Builds, served_images
from tests.support import sandbox as support
from tests.support.images import ImageServer


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


@pytest.fixture(scope="session")
def warm_ansible() -> Iterator[WarmAnsible]:
    """A loaded Ansible: starting it anew would take most of the time of these tests."""
    warm = WarmAnsible(ENVIRONMENT)
    warm.start()
    yield warm
    warm.close()


@pytest.fixture
def playbooks(sandbox: Sandbox, tmp_path: Path, warm_ansible: WarmAnsible) -> Playbooks:
    """Playbooks against the stand-in, in a loaded Ansible."""
    return Playbooks(sandbox, tmp_path, warm_ansible)


@pytest.fixture
def by_hand(sandbox: Sandbox, tmp_path: Path) -> Playbooks:
    """Playbooks against the stand-in, as a person runs them."""
    return Playbooks(sandbox, tmp_path)


@pytest.fixture
def scene(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """A server to be rebuilt; tasks are looked at more often than the stand-in needs for them."""
    monkeypatch.setattr(tasks, "FIRST_PAUSE_SECONDS", 0.01)
    return stage(sandbox)


@pytest.fixture(scope="session")
def web() -> Iterator[ImageServer]:
    """Images to build templates from."""
    with served_images() as served:
        yield served


@pytest.fixture
def builds(playbooks: Playbooks, web: ImageServer) -> Builds:
    """Builds of templates, in a loaded Ansible."""
    return Builds(playbooks, web)
