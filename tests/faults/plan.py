"""Which cases meet what: all of them for `make faults`, a fixed part for `make test`."""

from tests.faults.cases import CASES, Case
from tests.faults.troubles import TROUBLES, Trouble

BEFORE, AFTER, DURING = MOMENTS = ("before", "after", "while its task runs")
"""A worker is killed before a request has an effect; after that and before the answer; or when the task that the
request started goes on until the next worker has begun."""


def whole_plan() -> tuple[list[tuple[Case, str]], list[tuple[Case, Trouble]]]:
    """Every case with every moment, and with every trouble."""
    return (
        [(case, moment) for case in CASES for moment in MOMENTS],
        [(case, trouble) for trouble in TROUBLES for case in CASES],
    )


def short_plan() -> tuple[list[tuple[Case, str]], list[tuple[Case, Trouble]]]:
    """The first case of each kind of job, killed after its first change; a build with every moment and quick trouble."""
    build = CASES[0]
    firsts = {case.type: case for case in reversed(CASES)}
    others = [case for case in CASES[1:] if firsts[case.type] is case]
    return (
        [(build, moment) for moment in MOMENTS] + [(case, AFTER) for case in others],
        [(build, trouble) for trouble in TROUBLES if not trouble.settings],
    )
