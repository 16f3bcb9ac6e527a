"""What tests of accounts share."""

from collections.abc import Iterator

import pytest

from tests.support.service import Service


@pytest.fixture(scope="session")
def accounts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service without a worker."""
    with Service.start(tmp_path_factory.mktemp("accounts") / "state", worker=False) as started:
        yield started
