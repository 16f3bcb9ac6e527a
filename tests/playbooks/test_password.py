"""`server_password.yml`: in the guest at once where there is an agent, and in cloud-init."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jotunheim.ansible.warm import WarmAnsible
from jotunheim.sandbox.crypt import sha256_crypt
from tests.playbooks.pve_playbooks import Playbooks, Run, Sandbox, Unsafe
from tests.support import sandbox as support
from tests.support.guests import require_guests
from tests.support.processes import wait_for

CANARY = "canary-new-password"


def run(playbooks: Playbooks, *arguments: str, **changes: Any) -> Run:
    """One run; the password must not be in anything it says."""
    variables = {"pve_cloudinit_password": Unsafe(CANARY), "pve_password_user": Unsafe("debian")} | changes
    done = playbooks.run(
        "server_password.yml", playbooks.inventory(web_1=playbooks.server(**variables)), "--diff", *arguments
    )
    said = done.output + repr(done.results)
    assert "canary" not in said
    assert "$5$" not in said
    assert "$6$" not in said
    return done


def stored(sandbox: Sandbox) -> str:
    return str(sandbox.vm(1101)["config"]["cipassword"])


def is_password(password: str, hashed: str) -> bool:
    return sha256_crypt(password, hashed.split("$")[2]) == hashed


def test_without_an_agent_cloud_init_keeps_it_and_a_second_run_changes_nothing(
    playbooks: Playbooks, sandbox: Sandbox
) -> None:
    sandbox.own_server(ciuser=None)
    first = run(playbooks)
    assert first.code == 0, first.output
    assert first.of("vm_password")["applied"] == "at_next_boot"
    assert first.diffs == {
        "Set the password": {
            "before": {"ciuser": None, "cipassword": None},
            "after": {"ciuser": "debian", "cipassword": "********"},
        }
    }
    kept = stored(sandbox)
    assert is_password(CANARY, kept)
    again = run(playbooks, pve_password_user="other")
    assert (again.changed, stored(sandbox)) == ([], kept)
    assert again.of("vm_password")["applied"] == "at_next_boot"

    renewed = run(playbooks, pve_password_user="other", pve_password_renew=True)
    assert renewed.changed == ["Set the password"]
    assert stored(sandbox) != kept
    assert sandbox.vm(1101)["config"]["ciuser"] == "debian", "the user of cloud-init is kept"
    odd = run(playbooks, pve_cloudinit_password=Unsafe("canäry-{{ 7 * 7 }}"))
    assert (odd.code, stored(sandbox)[:3]) == (0, "$6$"), odd.output
    assert run(playbooks, pve_cloudinit_password=Unsafe("canäry-{{ 7 * 7 }}")).changed == []
    assert run(playbooks, pve_cloudinit_password=None).error["code"] == "invalid_input"


@pytest.fixture(scope="module")
def guest_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A stand-in whose VMs have guests."""
    require_guests()
    with support.Sandbox.start(tmp_path_factory.mktemp("guests"), time_scale=0, guests="process") as started:
        yield Sandbox(started.ready)


def test_with_an_agent_the_guest_has_it_at_once_or_says_why_not(
    guest_process: Sandbox, tmp_path: Path, warm_ansible: WarmAnsible
) -> None:
    sandbox, playbooks = guest_process, Playbooks(guest_process, tmp_path, warm_ansible)
    sandbox.own_server()
    sandbox.start(1101)
    wait_for(lambda: (sandbox.vm(1101)["guest"] or {}).get("phase") == "ready", "the guest to boot")

    refused = run(playbooks, pve_password_user="nobody-here")
    assert refused.error["code"] == "guest_refused"
    assert "cipassword" not in sandbox.vm(1101)["config"], "cloud-init is not touched then"

    check = run(playbooks, "--check")
    assert "cipassword" not in sandbox.vm(1101)["config"]
    done = run(playbooks)
    assert done.code == 0, done.output
    assert done.of("vm_password")["applied"] == check.of("vm_password")["applied"] == "now"
    assert done.diffs == check.diffs
    assert done.diffs["Set the password"]["after"]["guest.password"] == "********"
    assert is_password(CANARY, stored(sandbox))
    with sandbox.client() as pve:
        shadow = pve.get("nodes/pve1/qemu/1101/agent/file-read", file="/etc/shadow")["content"]
    (hashed,) = [line.split(":")[1] for line in shadow.splitlines() if line.startswith("debian:")]
    assert is_password(CANARY, hashed)

    again = run(playbooks)
    assert (again.changed, again.of("vm_password")["applied"]) == ([], "now")
    sandbox.fault(
        method="POST", path="/agent/set-user-password$", status=500, message="QEMU guest agent is not running"
    )
    silent = run(playbooks, pve_password_renew=True)
    assert (silent.code, silent.of("vm_password")["applied"]) == (0, "at_next_boot")
    # What PVE says about a bad request quotes it.
    said = f"Agent error: cannot set {CANARY}"
    sandbox.fault(method="POST", path="/agent/set-user-password$", status=500, message=said)
    assert run(playbooks, pve_password_renew=True).error["code"] == "guest_refused"
    sandbox.check_requests()
