"""No secret in anything that Ansible or ansible-runner prints or writes."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.playbooks.pve_playbooks import Playbooks, Sandbox

ROOT = Path(__file__).parents[2]
CANARIES = {"PVE_TOKEN_SECRET": "", "PVE_CLOUDINIT_PASSWORD": "canary-cloudinit-password"}


@pytest.fixture
def by_reference(playbooks: Playbooks, sandbox: Sandbox) -> dict[str, Any]:
    """A server whose inventory names its secrets and does not hold them."""
    lookup = "{{{{ lookup('ansible.builtin.env', '{}') }}}}"
    CANARIES["PVE_TOKEN_SECRET"] = sandbox.ready["token_secret"]
    return playbooks.server(
        pve_api_token_secret=lookup.format("PVE_TOKEN_SECRET"),
        pve_cloudinit_password=lookup.format("PVE_CLOUDINIT_PASSWORD"),
    )


def test_artefacts_of_ansible_runner(
    playbooks: Playbooks, by_reference: dict[str, Any], tmp_path: Path
) -> None:
    """As the service runs it, as loud as can be, with a success and a failure."""
    inventory = playbooks.inventory(web_1=by_reference, web_2=by_reference | {"pve_vmid": 9000})
    private = tmp_path / "run"
    project = private / "project"
    project.mkdir(parents=True)
    (project / "server_build.yml").write_text((ROOT / "playbooks" / "server_build.yml").read_text())
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")},
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "ANSIBLE_ROLES_PATH": str(ROOT / "roles"),
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "jotunheim" / "collections"),
        "HOME": str(tmp_path),
        **CANARIES,
    }
    run = subprocess.run(
        [
            str(Path(sys.executable).with_name("ansible-runner")),
            *("run", str(private), "-p", "server_build.yml", "--inventory", str(inventory)),
            *("-vvv", "--cmdline=--diff"),
        ],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "vmid_taken" in run.stdout
    written = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    assert any("job_events" in str(file) for file in written)
    # ansible-runner itself writes the environment it was started with; the service passes secrets by the
    # store, not by the environment.
    searched = {file: content for file, content in written.items() if file.name != "command"}
    for canary in CANARIES.values():
        assert canary not in run.stdout + run.stderr
        assert [file for file, content in searched.items() if canary.encode() in content] == []


def test_a_wrong_value_is_not_shown_by_argument_validation(
    by_hand: Playbooks, by_reference: dict[str, Any]
) -> None:
    by_hand.environment = dict(CANARIES)
    wrong = {
        "pve_config_cores": "many",
        "pve_api_port": "{{ pve_api_token_secret }}",
        "pve_uuid": "{{ pve_cloudinit_password }}",
        "pve_api_token_id": "{{ pve_api_token_secret }}",
    }
    inventory = by_hand.inventory(
        **{
            f"web_{number}": by_reference | {name: value}
            for number, (name, value) in enumerate(wrong.items())
        }
    )
    run = by_hand.run("server_build.yml", inventory, "-vvv", "--diff")
    assert run.code != 0
    for canary in CANARIES.values():
        assert canary not in run.output + repr(run.results)


@pytest.fixture
def secret_store(tmp_path: Path) -> Path:
    """A stand-in for the encrypted store: a module of the same name, first on the path."""
    package = tmp_path / "site" / "sitecustomize.py"
    package.parent.mkdir()
    package.write_text(
        "import sys, types\n"
        "from jotunheim.exceptions.repository import SecretError\n"
        "store = types.ModuleType('jotunheim.repositories.peewee.secrets')\n"
        "def read_secret(name, is_there):\n"
        "    if name != 'node/3/token':\n"
        "        raise SecretError(f'There is no secret {name}.', hint='Set it again.')\n"
        "    return '{{ undefined_canary }}'\n"
        "store.read_secret = read_secret\n"
        "sys.modules['jotunheim.repositories.peewee.secrets'] = store\n"
    )
    return package.parent


def test_the_lookup_gives_values_that_are_no_templates(playbooks: Playbooks, secret_store: Path) -> None:
    playbooks.environment = {"PYTHONPATH": f"{secret_store}:{ROOT}"}
    lookup = "{{{{ lookup('jotunheim.pve.secret', '{}') }}}}"
    servers = {
        "known": playbooks.server(pve_api_token_secret=lookup.format("node/3/token")),
        "unknown": playbooks.server(pve_api_token_secret=lookup.format("node/4/token")),
    }
    run = playbooks.play([{"vm_info": {}}], playbooks.inventory(**servers), "-vvv")
    errors = {host: result["error"] for host, result in run.by_host().items()}
    assert errors["known"]["code"] == "node_unauthorized", "the value was sent as it is"
    assert errors["unknown"]["code"] == "secret_unavailable"
    assert errors["unknown"]["message"] == "There is no secret node/4/token."
    assert "undefined_canary" not in run.output
    assert errors["unknown"]["hint"].startswith("Set it again.")
