"""A disk is only nobody's when every guest that is listed has been asked."""

from contextlib import nullcontext
from typing import Any, cast

import pytest
from ansible_collections.jotunheim.pve.plugins.plugin_utils import orphan
from ansible_collections.jotunheim.pve.plugins.plugin_utils.target import read_target
from ansible_collections.jotunheim.pve.plugins.plugin_utils.vm import Vm

from jotunheim.exceptions.repository import OrphanChangedError, ProxmoxVmNotFoundError
from jotunheim.repositories.proxmox import ProxmoxClient

DISK = "vmstore:vm-1000-disk-0"
GUEST = {"vmid": 100, "node": "pve1", "type": "qemu"}


class Cluster:
    """A cluster with one guest, whose node does not have it any more when it is asked."""

    def __init__(self, *listed: list[dict[str, Any]]) -> None:
        self.listed = list(listed)

    def settle(self, *_: object) -> None:
        """Nothing is going on."""

    def get(self, path: str, **_: object) -> Any:
        if path.endswith("/config"):
            raise ProxmoxVmNotFoundError("Configuration file does not exist")
        return self.listed.pop(0) if path == "cluster/resources" else [{"volid": DISK}]


@pytest.mark.parametrize(
    ("later", "outcome"),
    [
        ([], nullcontext()),
        ([GUEST], nullcontext()),
        ([GUEST | {"node": "pve2"}], pytest.raises(OrphanChangedError, match="left node pve1")),
    ],
)
def test_a_guest_that_moves_may_still_use_a_disk(later: list[dict[str, Any]], outcome: Any) -> None:
    target = read_target(
        {
            "pve_api_host": "h",
            "pve_api_token_id": "jotunheim@pve!test",
            "pve_api_token_secret": "s",
            "pve_node": "pve1",
            "pve_vmid": 1000,
            "pve_uuid": "5f0c2a54-6d0c-4b5e-9d55-0f4f1f1f7a01",
        }
    )
    vm = Vm(cast("ProxmoxClient", Cluster([GUEST], later)), target)
    wanted = orphan.Wanted("vmstore", DISK, frozenset(), 1)
    with outcome:
        assert orphan.KINDS["disk"].find(vm, wanted) == DISK
