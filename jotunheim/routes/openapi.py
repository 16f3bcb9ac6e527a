"""The OpenAPI document and the page that shows it, both made from the operations."""

import html
import re
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from jotunheim import __version__
from jotunheim.data.error import ErrorAnswer
from jotunheim.routes.guards import SESSION_COOKIE, Access
from jotunheim.routes.operation import MAX_ROW_DIGITS, Operation

PREFIX = "/api/v1"
_PARAMETER = re.compile(r"{(\w+):(\w+)}")
_PARAMETER_SCHEMAS: dict[str, dict[str, Any]] = {
    "path": {"type": "string"},
    "row": {"type": "integer", "minimum": 1, "maximum": 10**MAX_ROW_DIGITS - 1},
    "uuid": {"type": "string", "format": "uuid"},
    "str": {"type": "string"},
}
Keyed = tuple[type[BaseModel], Literal["validation", "serialization"]]
_REF = "#/components/schemas/{model}"


def document(operations: Sequence[Operation]) -> dict[str, Any]:
    """The OpenAPI 3.1 document of these operations."""
    inputs: set[Keyed] = {(operation.body, "validation") for operation in operations if operation.body}
    outputs: set[Keyed] = {
        (operation.answer, "serialization")
        for operation in operations
        if not isinstance(operation.answer, str)
    }
    keys, definitions = models_json_schema(
        sorted({*inputs, *outputs, (ErrorAnswer, "serialization")}, key=lambda entry: entry[0].__name__),
        ref_template=_REF,
    )
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        path = PREFIX + _PARAMETER.sub(r"{\1}", operation.path)
        paths.setdefault(path, {})[operation.method.lower()] = _operation(operation, keys)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Jotunheim",
            "version": __version__,
            "description": "Virtual machines on Proxmox VE, through Ansible.",
            "license": {"name": "AGPL-3.0-or-later", "identifier": "AGPL-3.0-or-later"},
        },
        "paths": paths,
        "components": {
            "schemas": definitions["$defs"],
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "bearerFormat": "jtn_… or jts_…"},
                "session": {"type": "apiKey", "in": "cookie", "name": SESSION_COOKIE},
            },
        },
        "security": [{"token": []}],
    }


def _operation(operation: Operation, keys: Any) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "description": "Success",
        "content": {operation.media_type: _answered(operation, keys)},
    }
    if operation.stream:
        answer["content"]["text/event-stream"] = {"schema": {"type": "string"}}
    if operation.status == 202:
        answer["headers"] = {"Location": {"description": "The job", "schema": {"type": "string"}}}
    described: dict[str, Any] = {
        "operationId": _operation_id(operation),
        "summary": operation.summary,
        "description": _allowed(operation.access),
        "security": [] if operation.access.public else [{"token": []}, {"session": []}],
        "tags": [operation.path.split("/")[2]],
        "parameters": _parameters(operation),
        "responses": {
            str(operation.status): answer,
            "default": {
                "description": "Error",
                "content": {"application/json": {"schema": keys[(ErrorAnswer, "serialization")]}},
            },
        },
    }
    if operation.other_status:
        described["responses"][str(operation.other_status)] = answer
    if operation.body:
        schema = keys[(operation.body, "validation")]
        required = any(field.is_required() for field in operation.body.model_fields.values())
        described["requestBody"] = {"required": required, "content": {"application/json": {"schema": schema}}}
    return described


def _answered(operation: Operation, keys: Any) -> dict[str, Any]:
    """How the answer looks; nothing is said of a file, as OpenAPI 3.1 wants it for bytes without an encoding."""
    return {} if isinstance(operation.answer, str) else {"schema": keys[(operation.answer, "serialization")]}


def _operation_id(operation: Operation) -> str:
    scope = operation.path.split("/")[1]
    return operation.handler.__name__ if scope == "admin" else f"{scope}_{operation.handler.__name__}"


def _allowed(access: Access) -> str:
    if access.public:
        return "Needs no token."
    if access.person:
        return "Needs the session of somebody who logged in."
    return f"Needs the scope `{access.scope}`." if access.scope else "Needs a token or a session."


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": _PARAMETER_SCHEMAS[converter]}
        for name, converter in _PARAMETER.findall(operation.path)
    ]
    for name, schema in _inline_properties(operation.query).items():
        parameters.append({"name": name, "in": "query", "required": False, "schema": schema})
    if operation.takes_key:
        schema = {"type": "string", "minLength": 1, "maxLength": 255}
        parameters.append({"name": "Idempotency-Key", "in": "header", "required": False, "schema": schema})
    if operation.takes_version:
        version = {"type": "string"}
        parameters.append({"name": "If-Match", "in": "header", "required": False, "schema": version})
    return parameters


def _inline_properties(shape: type[BaseModel]) -> dict[str, Any]:
    """A query's properties, with references to enums replaced by the enums."""
    schema = shape.model_json_schema(ref_template=_REF)
    definitions = schema.get("$defs", {})

    def resolve(part: Any) -> Any:
        if isinstance(part, dict):
            if "$ref" in part:
                return definitions[part["$ref"].rsplit("/", 1)[1]]
            return {key: resolve(value) for key, value in part.items()}
        return [resolve(value) for value in part] if isinstance(part, list) else part

    properties: dict[str, Any] = resolve(schema.get("properties", {}))
    return properties


def page(described: dict[str, Any]) -> str:
    """The document as one HTML page that needs nothing from anywhere else, and no script."""
    sections = []
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            parameters = "".join(
                f"<li><code>{html.escape(parameter['name'])}</code> ({parameter['in']})</li>"
                for parameter in operation["parameters"]
            )
            body = (
                operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
            )
            answered = next(iter(operation["responses"].values()))["content"]
            media_type = next(iter(answered))
            answer = (
                _link(answered[media_type]["schema"])
                if "schema" in answered[media_type]
                else f"<code>{html.escape(media_type)}</code>"
            )
            sections.append(
                f"<section id='{operation['operationId']}'><h3><b class='{method}'>{method.upper()}</b> "
                f"<code>{html.escape(path)}</code></h3><p>{html.escape(operation['summary'])} "
                f"{_code(operation['description'])}</p>"
                + (f"<ul>{parameters}</ul>" if parameters else "")
                + (f"<p>Body: {_link(body)}</p>" if body else "")
                + f"<p>Answer {next(iter(operation['responses']))}: {answer}</p></section>"
            )
    for name, schema in sorted(described["components"]["schemas"].items()):
        sections.append(f"<section id='schema-{name}'><h3>{name}</h3>{_schema(schema)}</section>")
    return _PAGE.format(version=__version__, sections="\n".join(sections))


def _schema(schema: dict[str, Any]) -> str:
    description = f"<p>{_code(schema.get('description', ''))}</p>"
    if "enum" in schema:
        return description + "<p>" + ", ".join(f"<code>{value}</code>" for value in schema["enum"]) + "</p>"
    required = set(schema.get("required", []))
    rows = "".join(
        f"<tr><td><code>{html.escape(name)}</code>{' *' if name in required else ''}</td>"
        f"<td>{_type(part)}</td><td>{_code(part.get('description', ''))}</td></tr>"
        for name, part in schema.get("properties", {}).items()
    )
    return description + f"<table>{rows}</table>"


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return _link(schema)
    if "anyOf" in schema:
        return " or ".join(_type(part) for part in schema["anyOf"])
    if schema.get("type") == "array":
        return "list of " + _type(schema.get("items", {}))
    limits = [
        f"{word} {schema[key]}"
        for key, word in (
            ("minimum", "≥"),
            ("maximum", "≤"),
            ("maxLength", "at most"),
            ("default", "default"),
        )
        if schema.get(key) is not None
    ]
    name = schema.get("format") or schema.get("type", "any")
    return html.escape(f"{name} ({', '.join(limits)})" if limits else str(name))


def _link(schema: dict[str, Any]) -> str:
    name = schema["$ref"].rsplit("/", 1)[1] if "$ref" in schema else ""
    return f"<a href='#schema-{name}'>{name}</a>" if name else _type(schema)


def _code(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text))


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Jotunheim API {version}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1b1f24 }}
section {{ border-top: 1px solid #d7dce1; padding: .5rem 0 }}
h3 {{ margin: .5rem 0 }} table {{ border-collapse: collapse }} td {{ padding: .2rem 1rem .2rem 0; vertical-align: top }}
code {{ background: #f2f4f6; padding: .1rem .3rem; border-radius: 3px }}
.get {{ color: #0b5fb0 }} .post {{ color: #1a7f37 }}
</style>
<h1>Jotunheim API {version}</h1>
<p>The same as <a href="openapi.json">openapi.json</a>. Authenticate with <code>Authorization: Bearer jtn_…</code>.
Fields marked * are required.</p>
{sections}
</html>
"""
