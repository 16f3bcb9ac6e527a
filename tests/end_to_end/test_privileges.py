"""What a node's token needs: as printed, as documented, and as missed. All tests of this folder run with no more."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from jotunheim.services.nodes import privileges
from tests.support.sandbox import Sandbox
from tests.support.service import Service

DOCUMENTED = Path(__file__).parents[2] / "docs/operations.md"
ROW = re.compile(r"^\| `(/[^`]+)` \| ([^|]+) \|", re.MULTILINE)
WANTED = privileges.grants(
    node="pve1", vm_storage="vmstore", backup_storage="local", iso_storage="local", bridge="vmbr0"
)


def pveum(sandbox: Sandbox, line: str) -> str | None:
    """Do over the API what a `pveum` command does; returns the secret of a token that was made."""
    _, *words = shlex.split(line)
    options = {
        words[at].removeprefix("--"): words[at + 1] for at in range(len(words)) if words[at][:2] == "--"
    }
    match words:
        case ["user", "add", user]:
            sandbox.do("POST", "/access/users", userid=user)
        case ["user", "token", "add", user, name, *_]:
            return str(sandbox.do("POST", f"/access/users/{user}/token/{name}", **options)["value"])
        case ["role", "add", role, *_]:
            sandbox.do("POST", "/access/roles", roleid=role, **options)
        case ["acl", "modify", path, *_]:
            sandbox.do("PUT", "/access/acl", path=path, **options)
        case _:
            raise AssertionError(line)
    return None


def tried(service: Service, path: str, **token: str) -> dict[str, Any]:
    """What a test of the node says with another token."""
    service.ask(path, {"token_id": token["id"], "token_secret": token["secret"]}, "PATCH")
    tested: dict[str, Any] = service.ask(f"{path}/test")["test"]
    return tested


@pytest.fixture
def path(fresh_service: Service, sandbox: Sandbox) -> str:
    fresh_service.add_infrastructure(sandbox)
    return f"nodes/{fresh_service.ids['node']}"


def test_the_printed_commands_make_a_token_that_lacks_nothing(
    fresh_service: Service, sandbox: Sandbox, path: str
) -> None:
    token_id = "printed@pve!it"
    secrets = [pveum(sandbox, line) for line in privileges.commands(WANTED, token_id)]
    secret = next(filter(None, secrets))
    tested = tried(fresh_service, path, id=token_id, secret=secret)
    assert tested["ok"], tested


def test_each_privilege_that_is_missing_is_named_with_its_path(
    fresh_service: Service, sandbox: Sandbox, path: str
) -> None:
    for number, name in enumerate(sorted({name for grant in WANTED for name in grant.privileges})):
        token_id = f"lacking{number}@pve!it"
        secret = sandbox.make_token(token_id, frozenset({name}))
        tested = tried(fresh_service, path, id=token_id, secret=secret)
        said = {check["message"] for check in tested["checks"] if not check["ok"]}
        assert tested["code"] in ("node_permission", "node_not_found"), tested
        for grant in WANTED:
            assert (f"On {grant.path} the token lacks {name}." in said) == (name in grant.privileges)


def test_the_documentation_names_them(sandbox: Sandbox) -> None:
    fields = ("node", "vm_storage", "backup_storage", "iso_storage", "bridge")
    names = privileges.grants(**{field: f"<{field}>" for field in fields})
    service, _, _ = DOCUMENTED.read_text().partition("The service builds no templates")
    rows = {path: set(names.split(", ")) for path, names in ROW.findall(service)}
    assert rows == {grant.path: grant.privileges for grant in names}
