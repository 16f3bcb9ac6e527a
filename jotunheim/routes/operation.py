"""What a route is: a handler with its method, path, scope and shapes; and how a call of it goes.

    body read → one hop into a thread → who asks, what they may → query and body parsed, all bad fields at
    once → prepared, if a node must be asked: for `?plan=` whether it is as the preview found it → transaction
    { idempotency key claimed → who asks, once more: it may have waited long → handler → recorded → answer stored } → workers woken → answer. A GET opens no transaction.

Handlers are plain functions: `def create_server(call: Call[ServerSpec, NoQuery]) -> Reply`.
"""

import logging
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from jotunheim.data.account import ADMIN
from jotunheim.data.actor import Actor
from jotunheim.data.job import JobType
from jotunheim.exceptions import JotunheimError
from jotunheim.exceptions.model import all_problems
from jotunheim.exceptions.service import ConflictError
from jotunheim.repositories.peewee.database import transact
from jotunheim.routes.call import Call, Context, File, Handler, Reply
from jotunheim.routes.guards import Access, authorize, authorize_again, unnamed_nodes
from jotunheim.routes.once import Once
from jotunheim.routes.parsing import (
    idempotency_key,
    parse_body,
    parse_planned_body,
    parse_query,
    read_body,
    said,
)
from jotunheim.routes.trail import Readers, Trail
from jotunheim.services.job_control import assert_room
from jotunheim.services.servers import plans
from jotunheim.services.servers.plans import Manner

MAX_ROW_DIGITS = 9

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Operation:
    """One route of the API."""

    method: str
    path: str
    """Below `/api/v1`, with Starlette's converters: `/admin/servers/{id:uuid}`, `/admin/nodes/{id:row}`."""
    access: Access
    """Who may ask for it."""
    handler: Handler
    answer: type[BaseModel] | str
    """The shape of the JSON that it answers, or the media type of the `File`."""
    status: int
    body: type[BaseModel] | None
    query: type[BaseModel]
    other_status: int | None = None
    """What it answers as well, in the same shape."""
    prepare: Callable[[Call[Any, Any]], Any] | None = None
    """What must be waited for, such as a node's answer. It is done before the handler's transaction begins."""
    stream: Callable[[Request, Actor, Callable[[], Actor]], Any] | None = None
    """Answers `Accept: text/event-stream` in the handler's place; it is to ask now and then whether the caller still may."""
    job_type: JobType | None = None
    """What it becomes; None: it is done at once."""

    @property
    def media_type(self) -> str:
        """What it answers when all is well."""
        return self.answer if isinstance(self.answer, str) else "application/json"

    @property
    def takes_version(self) -> bool:
        """Whether the header `If-Match` means something."""
        return self.method in ("PATCH", "PUT", "DELETE")

    @property
    def takes_key(self) -> bool:
        """Whether the header `Idempotency-Key` means something."""
        return self.method == "POST" and not self.access.public

    @property
    def summary(self) -> str:
        """The first line of the handler's docstring."""
        return (self.handler.__doc__ or "").strip().splitlines()[0]

    async def answer_to(self, request: Request, reader: "Operation | None" = None) -> Response:
        """Answer one request, and record it if it is a change, or refused.

        Args:
            reader: shows what this operation changes.
        """
        context: Context = request.app.state.context
        trail = Trail(self, reader, request)
        try:
            return await self._answer(request, context, trail)
        except JotunheimError as error:
            await run_in_threadpool(trail.refuse, error, context.refusals)
            raise

    async def _answer(self, request: Request, context: Context, trail: Trail) -> Response:
        if (
            self.stream
            and request.method == "GET"
            and "text/event-stream" in request.headers.get("accept", "")
        ):
            actor = await run_in_threadpool(authorize, request, self.access)
            again = partial(authorize_again, actor, self.access, context.settings)
            response: Response = await self.stream(request, actor, again)
            return response
        body = await read_body(request, context.settings.max_body_bytes)
        return await run_in_threadpool(self._call, request, context, body, trail)

    def _call(self, request: Request, context: Context, body: bytes, trail: Trail) -> Response:
        actor = authorize(request, self.access)
        with all_problems() as collect:
            query = collect(parse_query, self.query, request)
            # A plan has a body of its own: it is read when the plan is known.
            applies = self.job_type is not None and "plan" in request.query_params
            parsed = None if applies else collect(parse_body, self.body, request, body)
            key = collect(idempotency_key, request) if self.takes_key else None
        plan_id = getattr(query, "plan", None)
        if_match = request.headers.get("if-match") if self.takes_version else None
        manner = Manner(getattr(query, "check", False), request=said(parsed))
        call: Call[Any, Any] = Call(
            context,
            actor,
            request.path_params,
            query,
            parsed,
            if_match,
            user_agent=request.headers.get("user-agent"),
            manner=manner,
        )
        trail.follow(call)
        ready = (
            partial(self._planned, call, plan_id, request, body) if plan_id else partial(self._prepared, call)
        )
        if self.method == "GET":
            return self._respond(self.handler(ready()), context)
        if key is None:
            reply = transact(partial(self._decide, ready(), trail))
            return self._respond(reply, context)
        once = Once.of(request, body, key, actor, context.keyring)
        return self._call_once(ready, once, context, trail)

    def _call_once(
        self, ready: Callable[[], Call[Any, Any]], once: Once, context: Context, trail: Trail
    ) -> Response:
        replayed = once.find()
        if replayed is not None:
            return replayed
        try:
            call = ready()
        except ConflictError:
            replayed = once.find()  # the same request may have been faster, and is what stands in the way
            if replayed is not None:
                return replayed
            raise
        decided = transact(partial(self._decide_once, call, once, trail))
        return self._respond(decided, context) if isinstance(decided, Reply) else decided

    def _planned(
        self, call: Call[Any, Any], plan_id: uuid.UUID, request: Request, body: bytes
    ) -> Call[Any, Any]:
        """The call with the plan that it applies, once the node is as that has found it."""
        assert self.job_type is not None
        owner_id = None if self.access.role == ADMIN else call.actor.user_id
        plan = plans.find(plan_id, self.job_type, call.path.get("id"), owner_id)
        parsed = parse_planned_body(self.body, plan.request, request, body)
        with unnamed_nodes(self.access.role != ADMIN):
            plans.assert_unmoved(plan, call.context.keyring, call.context.settings)
        manner = Manner(plan=plan, request=plan.request)
        return self._prepared(replace(call, body=parsed, manner=manner))

    def _decide(self, call: Call[Any, Any], trail: Trail) -> Reply:
        """What the handler answers; within a transaction, which records it too."""
        return self._carry_out(self._authorized_again(call), trail)

    def _carry_out(self, call: Call[Any, Any], trail: Trail) -> Reply:
        if self.job_type is not None:
            assert_room(call.actor, call.context.settings)
        if call.manner.plan is not None:
            plans.assert_recorded(call.manner.plan)
        return trail.carry_out(call, self.handler)

    def _decide_once(self, call: Call[Any, Any], once: Once, trail: Trail) -> Reply | Response:
        """The same under a caller's key: what the handler answers is kept, or what it answered before is said again."""
        call = self._authorized_again(call)  # first: nobody has keys who is not there any more
        replayed = once.claim()
        if replayed is not None:
            return replayed
        reply = self._carry_out(call, trail)
        assert isinstance(reply.body, BaseModel)  # files are read, not asked for once
        once.keep(reply.status or self.status, reply.body.model_dump(mode="json"), reply.headers)
        return reply

    def _authorized_again(self, call: Call[Any, Any]) -> Call[Any, Any]:
        return replace(call, actor=authorize_again(call.actor, self.access, call.context.settings))

    def _prepared(self, call: Call[Any, Any]) -> Call[Any, Any]:
        return replace(call, prepared=self.prepare(call)) if self.prepare else call

    def _respond(self, reply: Reply, context: Context) -> Response:
        for job_id in reply.wakes:
            try:
                context.wake(job_id)
            except Exception:
                log.warning(
                    "Job %s could not be announced; a worker's sweep will find it.", job_id, exc_info=True
                )
        body = reply.body
        return Response(
            body.content if isinstance(body, File) else body.model_dump_json(),
            status_code=reply.status or self.status,
            media_type=self.media_type,
            headers=reply.headers,
        )


def routes(operations: Iterable[Operation], prefix: str) -> list[Route]:
    """The operations as Starlette's routes: one a path, so that a wrong method is told the right ones."""
    paths: dict[str, dict[str, Operation]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method] = operation
    readers = Readers(operation for by_method in paths.values() for operation in by_method.values())
    return [_route(prefix + path, by_method, readers.nearest(path)) for path, by_method in paths.items()]


def _route(path: str, by_method: Mapping[str, Operation], reader: Operation | None) -> Route:
    async def endpoint(request: Request) -> Response:
        asked = by_method["GET" if request.method == "HEAD" else request.method]
        return await asked.answer_to(request, reader)

    return Route(path, endpoint, methods=list(by_method))


class _RowConvertor(Convertor[int]):
    """The id of a row in a path: digits that every database takes. Anything else is no such path."""

    regex = f"[1-9][0-9]{{0,{MAX_ROW_DIGITS - 1}}}"

    def convert(self, value: str) -> int:
        return int(value)

    def to_string(self, value: int) -> str:
        return str(value)


register_url_convertor("row", _RowConvertor())
