"""The operations of one module, collected by decorators: `@operations.get("/nodes", scope="nodes:read", answer=NodeList)`."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypedDict, Unpack

from pydantic import BaseModel
from starlette.requests import Request

from jotunheim.data.actor import Actor
from jotunheim.data.job import JobType
from jotunheim.routes.call import Call, Handler, JobQuery, NoQuery
from jotunheim.routes.guards import Access
from jotunheim.routes.operation import Operation

Decorator = Callable[[Handler], Handler]


class Details(TypedDict, total=False):
    """What can be said of most operations, and need not be."""

    scope: str
    """As of `Access`; the module's role and this are who may ask."""
    allowed: Access
    """Who may ask, where role and scope do not say it."""
    query: type[BaseModel]
    body: type[BaseModel]
    prepare: Callable[[Call[Any, Any]], Any]
    stream: Callable[[Request, Actor, Callable[[], Actor]], Any]
    other_status: int
    """As of `Operation`, like the ones before it."""


@dataclass
class Operations:
    """The operations of one module."""

    prefix: str
    role: str | None
    """As of `Access`."""
    found: list[Operation] = field(default_factory=list)

    def get(self, path: str, *, answer: type[BaseModel] | str, **details: Unpack[Details]) -> Decorator:
        """Register a handler for GET."""
        return self._register("GET", path, answer, 200, details)

    def post(
        self, path: str, *, answer: type[BaseModel], status: int, **details: Unpack[Details]
    ) -> Decorator:
        """Register a handler for POST."""
        return self._register("POST", path, answer, status, details)

    def patch(self, path: str, *, answer: type[BaseModel], **details: Unpack[Details]) -> Decorator:
        """Register a handler for PATCH, of a change that is done at once."""
        return self._register("PATCH", path, answer, 200, details)

    def delete(self, path: str, *, answer: type[BaseModel], **details: Unpack[Details]) -> Decorator:
        """Register a handler for DELETE, of what goes at once; it answers what there was."""
        return self._register("DELETE", path, answer, 200, details)

    def job(
        self,
        path: str,
        type_: JobType,
        *,
        answer: type[BaseModel],
        method: str = "POST",
        **details: Unpack[Details],
    ) -> Decorator:
        """Register a handler for a change of a server that becomes a job and can be previewed."""
        about: Details = {"scope": "servers:write", "query": JobQuery, **details}
        return self._register(method, path, answer, 202, about, type_)

    def _register(
        self,
        method: str,
        path: str,
        answer: type[BaseModel] | str,
        status: int,
        details: Details,
        job_type: JobType | None = None,
    ) -> Decorator:
        access = details.get("allowed") or Access(self.role, details.get("scope"))
        if access.scope is None and access.role is not None:
            raise TypeError(f"{path}: say with which scope it may be asked for")

        def register(handler: Handler) -> Handler:
            operation = Operation(
                method=method,
                path=self.prefix + path,
                access=access,
                handler=handler,
                answer=answer,
                status=status,
                body=details.get("body"),
                query=details.get("query", NoQuery),
                other_status=details.get("other_status"),
                prepare=details.get("prepare"),
                stream=details.get("stream"),
                job_type=job_type,
            )
            self.found.append(operation)
            return handler

        return register
