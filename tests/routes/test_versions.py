"""`If-Match`: whoever says which version they know changes no other one."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from jotunheim.data.server.view import SnapshotView
from jotunheim.routes import api_admin, api_auth, api_client
from jotunheim.routes.operation import Operation
from jotunheim.services.servers import live
from tests.support.in_process import InProcess
from tests.support.world import OWNER, World

OPERATIONS = [*api_admin.operations, *api_client.operations, *api_auth.operations]
VERSIONED = [operation for operation in OPERATIONS if operation.takes_version]
BODIES: dict[str, Any] = {"KeysRequest": {"ssh_keys": []}}
"""Of shapes that take no empty body."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A service whose only node answers nobody, and a client."""
    with InProcess.start(tmp_path_factory.mktemp("versions")) as service:
        made = World.made(service, host="127.0.0.1", port=1, token_id="root@pam!versions", secret="s")
        pool = {
            "name": "versions",
            "family": "ipv4",
            "first": "10.9.0.10",
            "last": "10.9.0.20",
            "prefix_length": 24,
        }
        assert service.ask("POST", "/admin/address-pools", service.token, body=pool).status_code == 201
        yield made


def _path(operation: Operation, world: World) -> str:
    if "{address:path}" in operation.path:
        pools = world.service.ask("GET", "/admin/address-pools?name=versions", world.service.token).json()
        pool_id = str(pools["address_pools"][0]["id"])
        return operation.path.replace("{id:row}", pool_id).replace("{address:path}", "10.9.0.12")
    if "{" not in operation.path:
        return operation.path
    return world.path(operation, OWNER)[0]


@pytest.mark.parametrize("operation", VERSIONED, ids=lambda operation: f"{operation.method} {operation.path}")
def test_another_version_is_refused(
    world: World, operation: Operation, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = SnapshotView(
        name="snap", description="", parent=None, created_at=datetime.now(UTC), with_memory=False
    )
    monkeypatch.setattr(live, "snapshots", lambda *_: [snapshot])
    token = world.service.token if operation.path.startswith("/admin") else world.tokens[OWNER]
    if operation.access.person:
        token = world.session(OWNER)
    body = None if operation.body is None else BODIES.get(operation.body.__name__, {})
    path = _path(operation, world)
    for version in ('"0"', 'W/"0"', "0", ""):
        answer = world.service.ask(operation.method, path, token, body=body, headers={"If-Match": version})
        assert answer.status_code == 412, (version, answer.text)
    answer = world.service.ask(operation.method, path, token, body=body, headers={"If-Match": "*"})
    assert answer.status_code != 412, answer.text
