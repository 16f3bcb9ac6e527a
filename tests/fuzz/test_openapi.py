"""The whole OpenAPI document, asked by each kind of caller: nothing breaks, and every answer is as it says.

The same requests are sent by nobody, by a client, by an operator with one scope and by one with all. `make fuzz` sends
many more, from another seed each time.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed
from schemathesis.checks import load_all_checks
from schemathesis.config import SchemathesisConfig
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from jotunheim.exceptions.http import STATUS
from jotunheim.routes import api_admin, api_auth, api_client, openapi
from jotunheim.routes.operation import Operation
from tests.support.world import OWNER, World

OPERATIONS: list[Operation] = [*api_admin.operations, *api_client.operations, *api_auth.operations]
DOCUMENT = openapi.document(OPERATIONS)
SCHEMA = schemathesis.openapi.from_dict(json.loads(json.dumps(DOCUMENT)), config=SchemathesisConfig())
CHECKS = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
EXPECTED = {"node_unavailable"}
"""Codes of answers 5xx that are no fault of ours: a node that was made up does not answer."""
NAMED = {"template_id": 1, "node_id": 1, "location_id": 1, "owner_id": OWNER, "user_id": OWNER, "group_id": 1}
"""Fields that refer to something, and what is there: what is made up refers to nothing."""
each_operation = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: f"{one.method} {one.path}")


@pytest.fixture(scope="module")
def callers(world: World) -> dict[str, str | None]:
    """A token for each kind of caller, the weakest first."""
    return {
        "nobody": None,
        "a client": world.tokens[OWNER],
        "an operator with one scope": world.service.user("reader@example.com", "admin", "servers:read")[1],
        "an operator": world.service.token,
    }


@pytest.fixture(scope="module")
def http() -> Iterator[requests.Session]:
    """Connections that stay open."""
    load_all_checks()
    with requests.Session() as session:
        session.trust_env = False
        yield session


def described(operation: Operation) -> Any:
    """An operation as schemathesis has it."""
    return SCHEMA[openapi.PREFIX + re.sub(r":\w+}", "}", operation.path)][operation.method]


def how(examples: int, seed_: int) -> Any:
    """How a test draws its requests."""

    def decorate(test: Any) -> Any:
        settings = hypothesis.settings(
            max_examples=examples,
            derandomize=not seed_,
            database=None,
            deadline=None,
            phases=[Phase.generate] if not seed_ else [Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        )
        return settings(seed(seed_)(test) if seed_ else test)

    return decorate


def assert_answered_well(answer: requests.Response, caller: str, operation: Operation) -> None:
    """What holds for every answer, whoever asks whatever."""
    assert answer.headers["x-request-id"]
    public = operation.access.public
    if answer.ok:
        assert caller != "nobody" or public
        return
    assert answer.headers["content-type"] == "application/json"
    if answer.request.method == "HEAD":
        return
    error = answer.json()["error"]
    assert error["request_id"] == answer.headers["x-request-id"]
    assert answer.status_code == STATUS[error["code"]], error
    assert answer.status_code < 500 or error["code"] in EXPECTED, error
    assert ("www-authenticate" in answer.headers) == (answer.status_code == 401)
    assert caller == "nobody" or answer.status_code != 401 or public
    if caller == "nobody" and not public:
        assert answer.status_code == 401 or error["message"].startswith("There is nothing at "), error


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["right", "wrong"])
@each_operation
def test_every_answer_is_as_described(
    world: World,
    callers: dict[str, str | None],
    http: requests.Session,
    pytestconfig: pytest.Config,
    operation: Operation,
    mode: GenerationMode,
) -> None:
    path: dict[str, Any] = {}
    if "{id:" in operation.path:
        kind = operation.path.split("/")[2]
        path["id"] = world.id_of_new(kind, OWNER)
    examples, seed_ = pytestconfig.getoption("--fuzz-examples"), pytestconfig.getoption("--fuzz-seed")
    asked = described(operation)
    takes = operation.body or operation.query.model_fields or operation.method != "GET"
    if mode is GenerationMode.NEGATIVE and not takes:
        path = {}  # nothing else can be wrong
    if mode is GenerationMode.NEGATIVE and not takes and "{" not in operation.path:
        return

    @how(examples, seed_)
    @given(asked.as_strategy(generation_mode=mode, path_parameters=path or None))
    def send(case: Any) -> None:
        if isinstance(case.body, dict) and len(repr(case.body)) % 2:
            case.body = {**case.body, **{name: NAMED[name] for name in case.body.keys() & NAMED.keys()}}
        # A person's session may end with what is asked: each request has another one.
        for caller, token in {**callers, "a person": world.session(OWNER)}.items():
            prepared = case.as_transport_kwargs(base_url=world.service.url.removesuffix(openapi.PREFIX))
            prepared["headers"].pop("Authorization", None)  # it makes some up
            if token:
                prepared["headers"]["Authorization"] = f"Bearer {token}"
            answer = http.request(**prepared, timeout=30, allow_redirects=False)
            assert_answered_well(answer, caller, operation)
            case.validate_response(answer, checks=CHECKS)

    send()
