"""What the end-to-end tests stand on: a sandbox and a service, as separate processes on loopback."""

import os
import signal
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.support.sandbox import Sandbox
from tests.support.service import Service

pytest_plugins = ["tests.faults.tally", "tests.fuzz.options"]

SLOW_AND_ALONE = "tests/test_wheel.py"
"""Begun first: at the end of all tests one process would be at it, and the others idle."""


def pytest_xdist_auto_num_workers() -> int:
    """One process more than there are cores: each waits now and then."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the slow ones first."""
    items.sort(key=lambda item: not item.nodeid.startswith(SLOW_AND_ALONE))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the services of a failed test have to say."""
    report = yield
    if report.failed:
        fixtures = getattr(item, "funcargs", {}).values()
        for service in (value for value in fixtures if isinstance(value, Service)):
            report.sections.extend(service.complaints())
    return report


@pytest.fixture(autouse=True, scope="session")
def _clean_environment() -> Iterator[None]:
    """No setting or proxy of whoever runs the tests reaches them."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("JOTUNHEIM_", "ANSIBLE_", "PVE_")):
                patch.delenv(name)
            if name.lower() in ("http_proxy", "https_proxy", "all_proxy"):
                patch.delenv(name)
        yield


@pytest.fixture(autouse=True, scope="session")
def _interruptible() -> None:
    """Ctrl-C reaches the processes that tests start, also where the tests themselves run in the background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox, fast but not instant."""
    with Sandbox.start(tmp_path_factory.mktemp("sandbox"), time_scale=0.05) as started:
        yield started


@pytest.fixture(scope="session")
def service(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with a worker, and the sandbox's first node, its template and an address pool added."""
    with Service.start(tmp_path_factory.mktemp("service")) as started:
        started.add_infrastructure(sandbox)
        yield started


@pytest.fixture
def fresh_service(tmp_path: Path) -> Iterator[Service]:
    """A service of its own for one test, with no worker and nothing added."""
    with Service.start(tmp_path / "state", worker=False) as started:
        yield started
