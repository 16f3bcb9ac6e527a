"""Faults: what goes wrong with which request, as told through the control endpoint.

A fault picks requests by their index in the request log, or by method and path, and takes effect before
or after the request's own effect. The server asks for the fault of each request once, when it arrives.
"""

import re
from dataclasses import dataclass, field
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from jotunheim.sandbox.tasks import TaskFault


class Fault(BaseModel):
    """One fault, as the control endpoint takes it. Unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")

    index: int | None = Field(None, ge=1, description="request number this fault is for")
    method: str | None = Field(None, description="only requests with this method")
    path: str | None = Field(None, description="regular expression, searched in the path below /api2/json")
    count: int | None = Field(1, ge=1, description="how many requests it strikes; null: all")
    skip: int = Field(0, ge=0, description="matching requests to let pass first")
    when: Literal["before", "after"] = "before"
    status: int | None = Field(None, ge=400, le=599)
    message: str = ""
    empty: bool = Field(False, description="answer with an empty body")
    reset: bool = Field(False, description="cut the connection instead of answering")
    delay: float | None = Field(None, ge=0, description="real seconds to wait before going on")
    silent: bool = Field(False, description="never answer; the connection stays open")
    task_fails: str | None = Field(None, description="the request's task does its work, then fails with this")
    task_hangs: bool = Field(False, description="the request's task does its work and never ends")

    @field_validator("path")
    @classmethod
    def _compiles(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                re.compile(value)
            except re.error as error:
                raise ValueError(f"no regular expression: {error}") from error
        return value

    @model_validator(mode="after")
    def _does_something(self) -> "Fault":
        picks = (self.index, self.method, self.path)
        if all(pick is None for pick in picks):
            raise ValueError("say which requests: index, method or path")
        effects = (self.status, self.delay, self.task_fails)
        if all(effect is None for effect in effects) and not (self.reset or self.silent or self.task_hangs):
            raise ValueError("say what goes wrong: status, reset, delay, silent, task_fails or task_hangs")
        return self

    @property
    def for_task(self) -> TaskFault | None:
        """The part of the fault that strikes the task which the request starts."""
        if self.task_fails is None and not self.task_hangs:
            return None
        return TaskFault(self.task_fails, self.task_hangs)


@dataclass
class ActiveFault:
    """A fault with its number, how often it has struck, and how many requests it keeps without an answer."""

    id: int
    fault: Fault
    seen: int = 0
    struck: int = 0
    silenced: int = 0


@dataclass
class Faults:
    """The faults that wait for their request."""

    active: dict[int, ActiveFault] = field(default_factory=dict)
    _last: int = 0

    def add(self, fault: Fault) -> ActiveFault:
        """Arm a fault."""
        self._last += 1
        self.active[self._last] = ActiveFault(self._last, fault)
        return self.active[self._last]

    def reset(self) -> None:
        """Disarm all, and number the next one 1 again."""
        self.active.clear()
        self._last = 0

    def remove(self, number: int) -> bool:
        """Disarm a fault. Returns whether there was one."""
        return self.active.pop(number, None) is not None

    def strike(self, index: int, method: str, path: str) -> ActiveFault | None:
        """The fault for a request, if there is one; counts it."""
        for entry in self.active.values():
            if not _picks(entry.fault, index, method, path):
                continue
            entry.seen += 1
            spent = entry.fault.count is not None and entry.struck >= entry.fault.count
            if entry.seen <= entry.fault.skip or spent:
                continue
            entry.struck += 1
            return entry
        return None


def _picks(fault: Fault, index: int, method: str, path: str) -> bool:
    if fault.index is not None and fault.index != index:
        return False
    if fault.method is not None and fault.method.upper() != method:
        return False
    return fault.path is None or re.search(fault.path, path) is not None
