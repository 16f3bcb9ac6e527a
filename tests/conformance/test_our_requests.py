"""Whatever our client and plugins send is allowed by PVE's own schema.

Every sandbox that `tests.support` starts is checked in this way when it ends or forgets its log; here
the check itself is tested, and that it sees what a build sends.
"""

from typing import Any

import pytest

from tests.support import pve_schema
from tests.support.sandbox import Sandbox
from tests.support.service import Service

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f lawful"
VM = "/nodes/pve1/qemu/100"


def test_a_build_sends_only_what_the_schema_allows(service: Service, sandbox: Sandbox) -> None:
    since = sandbox.requests_logged()
    service.built("lawful", disk_bytes=20 * 1024**3, ssh_keys=[KEY], labels={"env": "ci"})
    sent = list(pve_schema.ours(sandbox.request_log(since)))
    changing = {entry["path"].rsplit("/", 1)[-1] for entry in sent if entry["method"] != "GET"}
    assert {"clone", "config", "resize", "start"} <= changing
    pve_schema.assert_lawful(sent)


@pytest.mark.parametrize(
    ("method", "path", "params", "problem"),
    [
        ("POST", f"{VM}/clone", {}, "newid: required and missing"),
        ("POST", f"{VM}/clone", {"newid": "x1"}, "newid: 'x1' is not of type 'integer'"),
        ("POST", f"{VM}/clone", {"newid": "101", "nmae": "a"}, "nmae: unknown parameter"),
        ("POST", f"{VM}/clone", {"newid": "101", "full": "yes"}, "full: 'yes' is not of type 'boolean'"),
        ("PUT", f"{VM}/clone", {"newid": "101"}, "the schema has no such method"),
        ("POST", "/nodes/pve1/vms", {}, "the schema has no such method"),
        ("POST", f"{VM}/config", {"net0": "virtio,bridge=vmbr0,speed=9"}, "net0.speed: unknown parameter"),
        ("POST", f"{VM}/config", {"net0": "bridge=vmbr0"}, "net0.model: required and missing"),
        ("POST", f"{VM}/config", {"net0": "virtio,tag=9999"}, "net0.tag: 9999 is greater than"),
        ("POST", f"{VM}/config", {"ipconfig0": "ip=10.0.0.1"}, "ipconfig0.ip: '10.0.0.1' is no ip-config"),
        ("POST", f"{VM}/config", {"scsi0": "vmstore:1,cache=all"}, "scsi0.cache: 'all' is not one of"),
        ("POST", f"{VM}/config", {"rng0": "/dev/urandom"}, "rng0: its format, pve-qm-rng, is not known"),
        ("PUT", f"{VM}/resize", {"disk": "scsi0", "size": "-1G"}, "size: '-1G' does not match"),
    ],
)
def test_a_request_that_pve_would_refuse_is_named(
    method: str, path: str, params: dict[str, Any], problem: str
) -> None:
    found = pve_schema.problems(method, path, params)
    assert found
    assert found[0].startswith(f"{method} {path}: {problem}"), found
