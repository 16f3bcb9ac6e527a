"""What PVE's sentences, as recorded from a real 8.4, are to us."""

import pytest
from proxmoxer import ResourceException

from jotunheim.exceptions.repository import (
    ProxmoxConfigChangedError,
    ProxmoxLockedError,
    ProxmoxNotFoundError,
    ProxmoxPermissionError,
    ProxmoxRequestError,
    ProxmoxTaskFailedError,
    ProxmoxUnauthorizedError,
    ProxmoxUnavailableError,
    ProxmoxVmNotFoundError,
    VmidTakenError,
)
from jotunheim.repositories.proxmox.errors import from_answer, from_task

RECORDED = [
    (401, "Authentication failed!", ProxmoxUnauthorizedError),
    (401, "No ticket", ProxmoxUnauthorizedError),
    (403, "Permission check failed (/vms/100, VM.Audit)", ProxmoxPermissionError),
    (595, "Connection refused", ProxmoxUnavailableError),
    (596, "", ProxmoxUnavailableError),
    (599, "Too many redirections", ProxmoxUnavailableError),
    (500, "Configuration file 'nodes/pve1/qemu-server/777.conf' does not exist", ProxmoxVmNotFoundError),
    (500, "unable to find configuration file for VM 1061 on node 'pve1'", ProxmoxVmNotFoundError),
    (
        500,
        "hostname lookup 'nosuchnode' failed - failed to get address info for: nosuchnode",
        ProxmoxNotFoundError,
    ),
    (500, "storage 'nosuch' does not exist", ProxmoxNotFoundError),
    (500, "snapshot 'nosuch' does not exist", ProxmoxNotFoundError),
    (500, "delete pool failed: pool 'nosuch' does not exist", ProxmoxNotFoundError),
    (500, "no such user ('nosuch@pve')", ProxmoxNotFoundError),
    (500, "VM is locked (backup)", ProxmoxLockedError),
    (500, "can't lock file '/var/lock/qemu-server/lock-1191.conf' - got timeout", ProxmoxLockedError),
    (500, "unable to create VM 1191 - can't lock file '/var/lock/x.conf' - got timeout", ProxmoxLockedError),
    (500, "unable to create VM 1191: config file already exists", VmidTakenError),
    (500, "unable to create VM 9000 - VM 9000 already exists on node 'pve1'", VmidTakenError),
    (500, "checksum mismatch (file change by other user?)", ProxmoxConfigChangedError),
    (
        500,
        "detected modified configuration - file changed by other user? Try again.",
        ProxmoxConfigChangedError,
    ),
    (500, "VM 1045 is not running", ProxmoxRequestError),
    (501, "Method 'GET /nosuchpath' not implemented", ProxmoxRequestError),
]


@pytest.mark.parametrize(("status", "reason", "expected"), RECORDED)
def test_status_and_reason(status: int, reason: str, expected: type[ProxmoxRequestError]) -> None:
    error = from_answer(ResourceException(status, "", reason, errors={"message": f"{reason}\n"}), "GET /x")
    assert type(error) is expected
    assert error.message == f"GET /x: {status} {reason}".strip()
    assert error.status == status


def test_every_error_but_the_unknown_tells_what_to_do() -> None:
    for status, reason, expected in RECORDED:
        error = from_answer(ResourceException(status, "", reason), "GET /x")
        assert error.hint or expected in {ProxmoxRequestError, ProxmoxNotFoundError, ProxmoxVmNotFoundError}


def test_bad_parameters_are_all_named() -> None:
    errors = {"cores": "value must have a minimum value of 1", "bogus": "property is not defined\n"}
    body = {"message": "Parameter verification failed.\n", "errors": errors}
    error = from_answer(
        ResourceException(400, "Bad Request", "Parameter verification failed.", errors=body), "PUT /x"
    )
    assert error.parameters == {
        "cores": "value must have a minimum value of 1",
        "bogus": "property is not defined",
    }
    assert error.message == (
        "PUT /x: 400 Parameter verification failed: cores: value must have a minimum value of 1; "
        "bogus: property is not defined"
    )


def test_an_unknown_task_is_not_found() -> None:
    body = {"errors": {"upid": "no such task"}}
    error = from_answer(ResourceException(400, "", "Parameter verification failed.", errors=body), "GET /x")
    assert isinstance(error, ProxmoxNotFoundError)


@pytest.mark.parametrize(
    ("exit_status", "expected"),
    [
        ("shrinking disks is not supported", ProxmoxTaskFailedError),
        ("disk 'scsi5' does not exist", ProxmoxTaskFailedError),
        ("can't lock file '/var/lock/x.conf' - got timeout", ProxmoxLockedError),
        ("unable to create VM 1197: config file already exists", VmidTakenError),
    ],
)
def test_exit_status_of_tasks(exit_status: str, expected: type[ProxmoxRequestError]) -> None:
    error = from_task("UPID:x", exit_status, "")
    assert type(error) is expected
    assert error.message == exit_status
