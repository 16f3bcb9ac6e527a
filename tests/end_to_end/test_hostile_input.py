"""Texts that would run if anybody evaluated them."""

from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.support.sandbox import Sandbox
from tests.support.service import Service

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGtQUDZWhs8k/cZcykMkoWOQHTHcGJxbTZ3x3Dx3gJ3u"


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    """A file that a hostile text tries to create."""
    return tmp_path / "executed"


def _texts(trap: Path) -> list[str]:
    return [
        "{{ lookup('pipe','touch %s') }}" % trap,  # noqa: UP031
        "{%% set x = lookup('pipe','touch %s') %%}" % trap,  # noqa: UP031
        f"$(touch {trap})",
        f"`touch {trap}`; touch {trap}",
        f"!unsafe {{{{ lookup('pipe','touch {trap}') }}}}",
        "{# %s #}" % trap,  # noqa: UP031
    ]


def test_labels_keys_and_ids_come_back_unchanged_and_run_nothing(
    service: Service, sandbox: Sandbox, trap: Path
) -> None:
    for number, text in enumerate(_texts(trap)):
        server = service.built(
            f"hostile-{number}",
            labels={"note": text},
            external_id=text,
            ssh_keys=[f"{KEY} {text}"],
            password=f"Passw0rd {text}"[:128],
            start=False,
        )
        assert server["labels"] == {"note": text}
        assert server["external_id"] == text
        assert unquote(sandbox.config(server["vmid"])["sshkeys"]).strip() == f"{KEY} {text}"
    assert not trap.exists()


@pytest.mark.parametrize(
    "name", ["yes", "no", "null", "0x1f", "010", "1.10", "ungrouped", "all", "servers", "localhost"]
)
def test_names_that_mean_something_else_to_yaml_or_ansible_are_names(
    service: Service, sandbox: Sandbox, name: str
) -> None:
    server = service.built(name, tags=["yes", "1.10", "null", "010"], start=False)
    config = sandbox.config(server["vmid"])
    assert config["name"] == name
    assert set(config["tags"].split(";")) == {"yes", "1.10", "null", "010"}


@pytest.mark.parametrize("field", ["name", "hostname", "tags"])
def test_what_must_be_a_plain_name_is_refused(service: Service, field: str, trap: Path) -> None:
    for text in _texts(trap):
        spec = {
            "name": "plain",
            "template_id": service.ids["template"],
            field: [text] if field == "tags" else text,
        }
        answer = service.http.post("/admin/servers", json=spec)
        assert answer.status_code == 422, answer.text
        assert [detail["field"].split(".")[0] for detail in answer.json()["error"]["details"]] == [field]
    assert not trap.exists()


def test_a_node_name_cannot_leave_its_place_in_a_url(service: Service) -> None:
    for text in ("../access", "pve1/qemu", "pve1?x=1", "{{ 7*7 }}"):
        spec = {
            "name": text,
            "location_id": 1,
            "host": "127.0.0.1",
            "token_id": "root@pam!test",
            "token_secret": "s",
        }
        answer = service.http.post("/admin/nodes", json=spec)
        assert answer.status_code == 422
        assert {detail["field"] for detail in answer.json()["error"]["details"]} == {"name"}
