"""Errors about data itself: values that break a rule and transitions that do not exist."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from jotunheim.exceptions import JotunheimError


@dataclass(frozen=True)
class FieldProblem:
    """One bad field: its dotted path as the caller wrote it, and what is wrong with it."""

    field: str
    message: str


class DataValidationError(JotunheimError):
    """Input that cannot be accepted; carries every bad field, not only the first."""

    code = "invalid_input"

    def __init__(self, problems: Sequence[FieldProblem]) -> None:
        fields = ", ".join(dict.fromkeys(problem.field for problem in problems))
        super().__init__(f"Invalid input: {fields}.")
        self.problems = tuple(problems)


@contextmanager
def all_problems() -> Iterator[Callable[..., Any]]:
    """Gives a way to call what checks something, one after the other; what they find wrong is raised at once, at the end."""
    problems: list[FieldProblem] = []

    def collect(parse: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return parse(*arguments)
        except DataValidationError as error:
            problems.extend(error.problems)
            return None

    yield collect
    if problems:
        raise DataValidationError(problems)


class IllegalTransitionError(JotunheimError):
    """A row was asked to move from a status that does not lead to the wanted one."""

    code = "conflict"

    def __init__(self, what: str, current: str, wanted: str) -> None:
        super().__init__(f"{what} is {current} and cannot become {wanted}.")
