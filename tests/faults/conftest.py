"""One world for all fault tests of a process."""

from collections.abc import Iterator

import pytest

from tests.faults.cases import Stage
from tests.faults.plan import short_plan, whole_plan
from tests.faults.world import World


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A world, and the cases that were prepared in it."""
    with World.start(tmp_path_factory.mktemp("faults")) as world:
        yield Stage(world)


@pytest.fixture
def whole(pytestconfig: pytest.Config) -> bool:
    """Whether every request is to be tried, or one of each run."""
    return bool(pytestconfig.getoption("--faults"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Hand the matrices their cases."""
    crashes, faults = (whole_plan if metafunc.config.getoption("--faults") else short_plan)()
    if "moment" in metafunc.fixturenames:
        ids = [f"{case.name}-{moment}" for case, moment in crashes]
        metafunc.parametrize(("case", "moment"), crashes, ids=ids)
    if "trouble" in metafunc.fixturenames:
        ids = [f"{case.name}-{trouble.name}" for case, trouble in faults]
        metafunc.parametrize(("case", "trouble"), faults, ids=ids)
