"""One VM on its node: reading it, proving that it is ours, writing a plan."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from typing import Any, NoReturn, Self

from ansible_collections.jotunheim.pve.plugins.plugin_utils.disk import disk_sizes
from ansible_collections.jotunheim.pve.plugins.plugin_utils.ownership import is_adopted, is_ours, says_nothing
from ansible_collections.jotunheim.pve.plugins.plugin_utils.plan import Plan, Resize
from ansible_collections.jotunheim.pve.plugins.plugin_utils.target import Target

from jotunheim.exceptions.repository import ProxmoxLockedError, ProxmoxVmNotFoundError, VmNotOursError
from jotunheim.repositories.proxmox import ProxmoxClient, api_path
from jotunheim.repositories.proxmox.facts import Counters, counters

Config = dict[str, Any]


class Vm:
    """The VM under the target's VMID. Its methods raise the subclasses of ProxmoxRequestError."""

    def __init__(self, client: ProxmoxClient, target: Target) -> None:
        self.client = client
        self.node = target.node
        self.vmid = target.vmid
        self.uuid = target.uuid
        self.must_be_identified = target.identified
        """Whether only the SMBIOS UUID proves that it is ours: notes are copied with a VM."""
        self.may_be_unmarked = False
        """Whether a VM that says nothing of whose it is counts as ours: its last restore broke off."""
        self.is_proven = False
        """Whether it was seen to be ours."""
        self.counted: tuple[Counters, float] | None = None
        """What its process had counted when it was last seen to run, and when it was asked for that."""

    def beside(self, vmid: int, uuid: str) -> Self:
        """Another VM of the same node, through the same session."""
        other = copy.copy(self)
        other.vmid, other.uuid, other.may_be_unmarked = vmid, uuid, False
        other.is_proven, other.counted = False, None
        other.must_be_identified = False
        return other

    def path(self, *parts: object) -> str:
        """A path below this VM's, e.g. ``path("status", "start")``."""
        return api_path("nodes", self.node, "qemu", self.vmid, *parts)

    def config(self) -> Config | None:
        """The configuration, with changes that wait for a restart; None: the node has no such VM.

        Only PVE's own sentence about the missing file means None; every other failure is raised.
        """
        try:
            return dict(self.client.get(self.path("config")))
        except ProxmoxVmNotFoundError:
            return None

    def owned_config(self) -> Config:
        """The configuration of a VM that exists and is ours."""
        config = self.config()
        if config is None:
            raise ProxmoxVmNotFoundError(
                f"There is no VM {self.vmid} on node {self.node}.", hint="Build the server first."
            )
        self.prove_ours(config)
        return config

    def prove_ours(self, config: Mapping[str, Any]) -> None:
        """Raise VmNotOursError when the configuration does not carry our UUID."""
        proves = is_adopted if self.must_be_identified else is_ours
        if proves(config, self.uuid) or (self.may_be_unmarked and says_nothing(config)):
            self.is_proven = True
            return
        if config.get("lock") in {"clone", "create"}:  # hides everything else until it ends
            raise ProxmoxLockedError(
                f"VM {self.vmid} on node {self.node} is being made ({config['lock']}).",
                hint="Try again when the node's task has ended.",
            )
        self.refuse()

    def refuse(self) -> NoReturn:
        """Raise VmNotOursError."""
        raise VmNotOursError(
            f"VM {self.vmid} on node {self.node} does not carry the UUID {self.uuid}; it was not touched.",
            hint="Check pve_vmid and pve_uuid. To adopt the VM, write `jotunheim:server=<uuid>` "
            "as the first line of its notes.",
        )

    def status(self) -> dict[str, Any]:
        """PVE's current status: `status`, `qmpstatus`, `uptime`, `lock`, …."""
        asked_at = time.time()
        status = dict(self.client.get(self.path("status", "current")))
        counted = counters(status)
        if counted is not None:
            self.counted = counted, asked_at
        return status

    def write(self, plan: Plan, config: Mapping[str, Any], timeout_seconds: float) -> None:
        """Carry a plan out: one configuration write, which PVE refuses if `config` is outdated, then resizes."""
        digest = config.get("digest")
        if plan.writes or plan.deletes:
            deletes = ",".join(plan.deletes) or None
            self.client.put(self.path("config"), digest=digest, delete=deletes, **plan.writes)
            digest = None  # ours is a new version
        for resize in plan.resizes:
            self._resize(resize, digest, timeout_seconds)
            digest = None

    def _resize(self, resize: Resize, digest: str | None, timeout_seconds: float) -> None:
        operation = f"resize {resize.disk}"
        if self.client.settle(operation, timeout_seconds) is not None:  # an earlier attempt was at it
            config = self.owned_config()
            if disk_sizes(config).get(resize.disk, 0) >= resize.size_bytes:
                return
            digest = config.get("digest")
        self.client.run(
            operation,
            "PUT",
            self.path("resize"),
            timeout_seconds=timeout_seconds,
            disk=resize.disk,
            size=resize.size_bytes,
            digest=digest,
        )
