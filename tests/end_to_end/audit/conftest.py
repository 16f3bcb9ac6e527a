"""What tests of the audit log share."""

from collections.abc import Iterator

import pytest

from tests.support.sandbox import Sandbox
from tests.support.service import Service


@pytest.fixture(scope="session")
def audited(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service of these tests' own, with infrastructure."""
    with Service.start(tmp_path_factory.mktemp("audited")) as started:
        started.add_infrastructure(sandbox)
        yield started
