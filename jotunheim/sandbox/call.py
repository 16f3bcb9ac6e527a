"""One request as a handler sees it, and the table of handlers that each noun's module fills."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from jotunheim.sandbox import access
from jotunheim.sandbox.access import ROOT, Auth
from jotunheim.sandbox.errors import bad_params
from jotunheim.sandbox.state import Vm
from jotunheim.sandbox.tasks import TaskFault, Work
from jotunheim.sandbox.world import World


@dataclass
class Call:
    """A request that has passed credentials, permissions and validation."""

    world: World
    auth: Auth
    params: dict[str, Any]
    request: web.Request
    task_fault: TaskFault | None = None
    upload: "Upload | None" = None
    sent: dict[str, Any] = field(default_factory=dict)
    """The parameters of query and body without those of the path, as they were sent."""

    def __post_init__(self) -> None:
        if self.params.get("skiplock") and (self.auth.user != ROOT or self.auth.token):
            raise bad_params(skiplock="Only root may use this option.")

    @property
    def node(self) -> str:
        """The node of the path."""
        return str(self.params["node"])

    @property
    def vmid(self) -> int:
        """The VMID of the path."""
        return int(self.params["vmid"])

    def vm(self) -> Vm:
        """The VM of the path, or PVE's error."""
        return self.world.vm(self.node, self.vmid)

    def get(self, name: str, default: Any = None) -> Any:
        """A parameter's value."""
        return self.params.get(name, default)

    def require(self, path: str, *wanted: str, any_of: bool = False) -> None:
        """Refuse with 403 unless the sender has the privileges at the path."""
        access.require(self.world.state, self.auth, path, wanted, any_of=any_of)

    def may(self, path: str, *wanted: str) -> bool:
        """Whether the sender has the privileges at the path."""
        return access.allowed(self.world.state, self.auth, path, wanted)

    def task(self, kind: str, identifier: object, work: Work, node: str | None = None) -> str:
        """Start a worker for this request. Returns the UPID, which is the answer."""
        fault, self.task_fault = self.task_fault, None
        return self.world.tasks.start(
            node or self.node, kind, str(identifier), self.auth.user, self.auth.token, work, fault
        )


@dataclass
class Upload:
    """The file of a multipart request."""

    filename: str
    size: int
    digests: dict[str, str]


@dataclass(frozen=True)
class Answer:
    """Data together with other top-level keys of the body, such as `total`."""

    data: Any
    extra: dict[str, Any]


Handler = Callable[[Call], Awaitable[Any]]


@dataclass
class Routes:
    """The handlers of one module, by method and path template of the schema."""

    handlers: dict[tuple[str, str], Handler] = field(default_factory=dict)

    def __call__(self, method: str, template: str) -> Callable[[Handler], Handler]:
        """Decorator that records a handler."""

        def record(handler: Handler) -> Handler:
            self.handlers[method, template] = handler
            return handler

        return record
