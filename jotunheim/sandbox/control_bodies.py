"""What the control endpoint accepts, and how it refuses the rest."""

import json
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from jotunheim.sandbox.options import STORAGE_NAME

Shape = TypeVar("Shape", bound=BaseModel)
ControlHandler = Callable[[web.Request], Awaitable[Any]]


class ControlError(Exception):
    """A refused control request."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=False)


class Counters(_Body):
    """What QEMU has counted since it started, in bytes."""

    netin: int | None = Field(None, ge=0)
    netout: int | None = Field(None, ge=0)
    diskread: int | None = Field(None, ge=0)
    diskwrite: int | None = Field(None, ge=0)


class VmChange(_Body):
    """Fields of a VM that can be set behind PVE's back."""

    config: dict[str, str | int | None] | None = None
    status: str | None = Field(None, pattern="^(running|stopped|paused)$")
    lock: str | None = None
    agent: bool | None = Field(None, description="whether the guest agent answers from now on")
    counters: Counters | None = None
    """They stand still from then on, until they are set again or the VM starts anew."""


class SettingsChange(_Body):
    """Clock and speeds. Names that do not exist are refused."""

    time_scale: float | None = Field(None, ge=0, le=1000)
    durations: dict[str, float] | None = None
    rates: dict[str, float] | None = None


class StorageChange(_Body):
    """A storage's capacity, in bytes."""

    total: int | None = Field(None, ge=1)
    other_used: int | None = Field(None, ge=0)
    shared: bool | None = None


class NodeChange(_Body):
    """A node's reachability, bridges and memory."""

    online: bool | None = None
    bridges: list[str] | None = None
    memory: int | None = Field(None, ge=1)
    """Bytes."""


class ResetRequest(_Body):
    """How many nodes the new state has, and which storages of type pbs; what is not said stays."""

    nodes: int | None = Field(None, ge=1, le=32)
    pbs: list[Annotated[str, Field(pattern=STORAGE_NAME)]] | None = None


def answering(handler: ControlHandler) -> Callable[[web.Request], Awaitable[web.Response]]:
    """A handler whose value or refusal becomes a JSON answer."""

    async def answer(request: web.Request) -> web.Response:
        try:
            return web.json_response(await handler(request))
        except ControlError as error:
            return web.json_response({"error": error.message}, status=error.status)

    return answer


async def json_body(request: web.Request) -> Any:
    """The request's body; an empty one is an empty object."""
    text = await request.text()
    try:
        return json.loads(text) if text else {}
    except ValueError as error:
        raise ControlError(400, f"the body is not JSON: {error}") from error


async def parse_body(request: web.Request, shape: type[Shape]) -> Shape:
    """The request's body in its shape, or a refusal that names the field."""
    try:
        return shape.model_validate(await json_body(request))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "body"
        raise ControlError(400, f"{where}: {first['msg']}") from error
