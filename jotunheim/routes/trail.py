"""What the audit log gets of a request: derived from its operation, so that no handler has to think of it.

The handler's transaction has the entry too. A refusal has one of its own, after that was undone.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel
from starlette.requests import Request

from jotunheim.data.actor import Actor
from jotunheim.exceptions import JotunheimError
from jotunheim.exceptions.http import STATUS
from jotunheim.exceptions.model import DataValidationError
from jotunheim.routes.address import client_address
from jotunheim.routes.call import Call, Handler, Reply
from jotunheim.services.audit import records
from jotunheim.services.audit.differences import differences
from jotunheim.services.servers.plans import AT_ONCE

if TYPE_CHECKING:
    from jotunheim.routes.operation import Operation

READS = ("GET", "HEAD")
_REFUSED_READS = ("unauthorized", "forbidden")
_VERBS = {"PATCH": "change", "PUT": "set", "DELETE": "delete", "GET": "read"}
_OWN = "/auth/"
"""Where people ask for what is about themselves."""
_PARAMETER = re.compile(r"{(\w+):\w+}")


@dataclass(frozen=True)
class Subject:
    """What an operation does, and to what.

    Attributes:
        action: e.g. `server.create`, `server.power`, `snapshot.delete`, `node.change`, `login`.
        resource: the kind of thing that its path begins with, e.g. `server`; of what people do about themselves, `user`.
        parameter: of the path: which one it is; None: it has none yet.
    """

    action: str
    resource: str | None
    parameter: str | None

    @classmethod
    def of(cls, method: str, path: str) -> "Subject":
        """Derived from method and path, which are as stable as the API."""
        parts = path.split("/")[2:]
        kinds = [part for part in parts if _is_plural(part)]
        resource = _singular(parts[0]) if parts[0] in kinds else "user" if path.startswith(_OWN) else None
        parameter = _PARAMETER.fullmatch(parts[1]) if parts[0] in kinds and len(parts) > 1 else None
        return cls(_action(method, parts, kinds), resource, parameter[1] if parameter else None)


def _action(method: str, parts: list[str], kinds: list[str]) -> str:
    last = parts[-1]
    if _PARAMETER.fullmatch(last):
        return f"{_singular(kinds[-1])}.{_VERBS.get(method, method.lower())}"
    if last in kinds and method in ("POST", "GET"):
        return f"{_singular(last)}.{'create' if method == 'POST' else 'list'}"
    owners = [part for part in kinds if part != last]
    words = [_singular(owners[-1])] if owners else [part for part in parts[:-1] if "{" not in part]
    verb = [] if method == "POST" else [_VERBS[method]]
    return ".".join([*words, last.replace("-", "_"), *verb])


def _is_plural(part: str) -> bool:
    return part.endswith("s") and "{" not in part


def _singular(part: str) -> str:
    return part.removesuffix("es" if part.endswith("sses") else "s").replace("-", "_")


class Readers:
    """The operations that show one thing, by path: they tell how it was before something else changed it."""

    def __init__(self, operations: Iterable["Operation"]) -> None:
        self._found = {
            operation.path: operation
            for operation in operations
            if operation.method == "GET"
            and operation.prepare is None
            and not isinstance(operation.answer, str)
            and not {"page", "after", "cursor"} & operation.query.model_fields.keys()
        }

    def nearest(self, path: str) -> "Operation | None":
        """The one of a path, or of what is above it: `/servers/{id}` for `/servers/{id}/power`."""
        while path:
            if path in self._found:
                return self._found[path]
            path = path.rpartition("/")[0]
        return None


class Trail:
    """What one request leaves in the audit log.

    Args:
        reader: shows what the operation is about.
    """

    def __init__(self, operation: "Operation", reader: "Operation | None", request: Request) -> None:
        self._operation = operation
        self._reader = reader
        self._http = request
        self._subject = Subject.of(operation.method, operation.path)
        self._call: Call[Any, Any] | None = None

    def follow(self, call: Call[Any, Any]) -> None:
        """Note what is asked for, as soon as it is known."""
        self._call = call

    def carry_out(self, call: Call[Any, Any], handler: Handler) -> Reply:
        """Let a handler do its work, and record it; within the transaction of both."""
        self._call = call
        before = self._read(call)
        reply = handler(call)
        answered = reply.body.model_dump(mode="json") if isinstance(reply.body, BaseModel) else {}
        was, became = self._compared(call, before, answered)
        is_preview = call.manner.check or getattr(call.query, "check", False)
        records.record(
            replace(
                self._event(answered),
                outcome=records.PREVIEWED if is_preview else records.DONE,
                status=reply.status or self._operation.status,
                before=was,
                after=became,
            )
        )
        return reply

    def refuse(self, error: JotunheimError, refusals: records.Refusals) -> None:
        """Record that the request was refused, when it was one for a change or by somebody who may not even read."""
        if error.code not in STATUS or (self._operation.method in READS and error.code not in _REFUSED_READS):
            return
        actor = self._actor()
        refusals.record(
            replace(
                self._event({}), outcome=error.code, status=STATUS[error.code], message=self._said(error)
            ),
            is_outsider=actor is None or not actor.user_id or actor.is_elsewhere,
        )

    def _said(self, error: JotunheimError) -> str:
        """An error's message without the names of fields that there are not: those are whatever the caller wrote."""
        if not isinstance(error, DataValidationError):
            return error.message
        known = {
            name
            for shape in (self._operation.body, self._operation.query)
            if shape
            for name in shape.model_fields
        }
        named = dict.fromkeys(
            problem.field for problem in error.problems if problem.field.split(".")[0] in known
        )
        return f"Invalid input: {', '.join(named)}." if named else "Invalid input."

    def _read(self, call: Call[Any, Any]) -> dict[str, Any]:
        """What the operation is about, as its own GET shows it; empty: there is nothing."""
        if self._reader is None:
            return {}
        asked = replace(
            call, query=self._reader.query(), body=None, if_match=None, prepared=None, manner=AT_ONCE
        )
        try:
            shown = self._reader.handler(asked).body
        except JotunheimError:
            return {}  # whatever is wrong, the handler says
        return shown.model_dump(mode="json") if isinstance(shown, BaseModel) else {}

    def _compared(
        self, call: Call[Any, Any], before: Mapping[str, Any], answered: Mapping[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """What was different before, and what is now, with all else that was answered."""
        goes = self._operation.method == "DELETE" and self._operation.job_type is None
        if not before:
            return (dict(answered), {}) if goes else ({}, _brief(answered))
        after = {name: answered[name] for name in before if name in answered}
        if goes or not self._is_answered():
            after = self._read(call)
        was, became = differences(before, after)
        others = _brief({name: answered[name] for name in answered if name not in before})
        return (was | others, became) if goes else (was, became | others)

    def _is_answered(self) -> bool:
        """Whether the operation answers what its reader shows."""
        shown, answer = self._reader.answer if self._reader else None, self._operation.answer
        if shown is None or isinstance(shown, str) or isinstance(answer, str):
            return False
        fields = {name: field.annotation for name, field in answer.model_fields.items()}
        return all(fields.get(name) == field.annotation for name, field in shown.model_fields.items())

    def _event(self, answered: Mapping[str, Any]) -> records.Event:
        subject, who = self._subject, self._who(answered)
        own_id = (
            who.actor_id if subject.resource == "user" and self._operation.path.startswith(_OWN) else None
        )
        return records.Event(
            subject.action,
            who,
            resource_type=subject.resource,
            resource_id=self._resource_id(answered) or own_id,
            request=self._asked(),
        )

    def _resource_id(self, answered: Mapping[str, Any]) -> object:
        if self._subject.parameter:
            return self._http.path_params.get(self._subject.parameter)
        made = answered.get(self._subject.resource or "")
        return made.get("id") if isinstance(made, Mapping) else None

    def _who(self, answered: Mapping[str, Any]) -> records.Who:
        actor = self._actor()
        who = records.Who(address=client_address(self._http), request_id=self._http.state.request_id)
        if actor is not None and actor.user_id:
            return replace(
                who,
                actor_id=actor.user_id,
                actor_email=actor.email,
                token_id=actor.token_id,
                session_id=actor.session_id,
            )
        user = answered.get("user")  # of somebody who has just logged in
        return (
            replace(who, actor_id=user["id"], actor_email=user["email"]) if isinstance(user, Mapping) else who
        )

    def _actor(self) -> Actor | None:
        return self._call.actor if self._call else getattr(self._http.state, "actor", None)

    def _asked(self) -> dict[str, Any]:
        """Path, query and body, as far as they were understood; nothing of whoever is not known, so that it stays small."""
        if self._call is None and self._actor() is None:
            return {}
        others = {
            name: str(value)
            for name, value in self._http.path_params.items()
            if name != self._subject.parameter
        }
        call = self._call
        query = call.query.model_dump(mode="json", exclude_unset=True) if call else {}
        body = call.body.model_dump(mode="json", exclude_unset=True) if call and call.body else {}
        asked = {"path": others, "query": query, "body": body}
        return {name: document for name, document in asked.items() if document}


def _brief(answered: Mapping[str, Any]) -> dict[str, Any]:
    """An answer in which jobs are no more than named."""
    return {name: _job(value) if name in ("job", "jobs") else value for name, value in answered.items()}


def _job(value: Any) -> Any:
    if isinstance(value, list):
        return [_job(item) for item in value]
    return {name: value[name] for name in ("id", "type", "status")} if isinstance(value, Mapping) else value
