"""What of a configuration a running VM does not have yet, and which changes it takes without a restart."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.jotunheim.pve.plugins.plugin_utils import cloudinit
from ansible_collections.jotunheim.pve.plugins.plugin_utils.plan import Plan
from ansible_collections.jotunheim.pve.plugins.plugin_utils.properties import Properties
from ansible_collections.jotunheim.pve.plugins.plugin_utils.vm import Vm

PENDING = "pending"
NEEDS_RESTART = "needs_restart"

CHANGED_FOR_GUEST = "changed for the guest"
"""What a job notes the keys under that a running guest does not have, and of which PVE may not tell that."""

Row = Mapping[str, Any]

# Changed in a running VM without any hotplug (PVE 8: qemu-server, `vmconfig_hotplug_pending`). Cloud-init's
# own options too: they only go to its drive. All other keys wait, except:
#   netN               taken live with the hotplug feature `network`
#   scsiN, virtioN     added and removed live with the feature `disk`
#   any drive          taken live when it keeps its volume (a grown disk), or is a CD-ROM drive before and after
#   memory, vcpus      taken live with the features `memory` and `cpu`, which are off by default
_LIVE = frozenset(
    {
        "affinity",
        "balloon",
        "cpulimit",
        "cpuunits",
        "description",
        "hookscript",
        "hotplug",
        "migrate_downtime",
        "migrate_speed",
        "name",
        "onboot",
        "protection",
        "shares",
        "startup",
        "tags",
        "vmstatestorage",
    }
)
_FEATURE_OF = {"net": "network", "scsi": "disk", "virtio": "disk", "memory": "memory", "vcpus": "cpu"}
_DEFAULT_FEATURES = frozenset({"network", "disk", "usb"})
_DRIVE = re.compile(r"(scsi|virtio|sata|ide|efidisk|tpmstate)\d+")
_NIC = re.compile(r"net\d+")

# Keys of answers that are no settings, or that PVE changes itself.
_NO_SETTINGS = frozenset({"digest", "lock", "parent", "meta", "vmgenid"})


def read(
    vm: Vm,
    config: Mapping[str, Any],
    guest_changes: Iterable[str] = (),
    predicted: Mapping[str, Any] | None = None,
) -> dict[str, str]:
    """What waits for a restart of a running VM: `pending` or `needs_restart` by configuration key.

    Proxmox VE tells of most settings whether the cloud-init drive has them. It does not tell it of host
    name, addresses and new network devices: those are known within the play that changed them.

    Args:
        config: the VM's configuration.
        guest_changes: what earlier tasks of the play changed for the guest.
        predicted: in check mode, the configuration after earlier tasks.
    """
    rows = vm.client.get(vm.path("pending"))
    drive = vm.client.get(vm.path("cloudinit")) if cloudinit.has_drive(config) else []
    pending = _marked(rows) if predicted is None else predicted_pending(rows, predicted)
    found = dict.fromkeys([*guest_changes, *_marked(drive)], NEEDS_RESTART) | dict.fromkeys(pending, PENDING)
    return {key: found[key] for key in sorted(found)}


def for_guest(config: Mapping[str, Any], plan: Plan) -> list[str]:
    """The keys of a plan that the guest learns from its cloud-init drive, hence at its next start."""
    after = plan.applied_to(config)
    if not cloudinit.has_drive(after):
        return []
    return [
        key
        for key in [*plan.writes, *plan.deletes]
        if cloudinit.is_option(key) or key == "name" or (_NIC.fullmatch(key) and key not in config)
    ]


def predicted_pending(rows: Iterable[Row], predicted: Mapping[str, Any]) -> list[str]:
    """The keys that would wait in PVE's pending section.

    Args:
        rows: PVE's answer about pending changes: per key the `value` that the running VM has.
        predicted: the configuration as it would be, pending changes included.
    """
    current = {str(row["key"]): str(row["value"]) for row in rows if "value" in row}
    wanted = {key: str(value) for key, value in predicted.items()}
    features = _features(current.get("hotplug"))
    keys = (current.keys() | wanted.keys()) - _NO_SETTINGS
    return [
        key
        for key in keys
        if current.get(key) != wanted.get(key)
        and not is_live(key, current.get(key), wanted.get(key), features)
    ]


def is_live(key: str, before: str | None, after: str | None, features: frozenset[str]) -> bool:
    """Whether a running VM takes this change of a key; see the table above."""
    if key in _LIVE or key.startswith("unused") or cloudinit.is_option(key):
        return True
    if _DRIVE.fullmatch(key) and before and after and _keeps_device(before, after):
        return True
    return _FEATURE_OF.get(key.rstrip("0123456789")) in features


def _features(hotplug: str | None) -> frozenset[str]:
    if hotplug in {None, "1"}:
        return _DEFAULT_FEATURES
    return frozenset() if hotplug == "0" else frozenset((hotplug or "").split(","))


def _marked(rows: Iterable[Row]) -> list[str]:
    return [str(row["key"]) for row in rows if "pending" in row or "delete" in row]


def _keeps_device(before: str, after: str) -> bool:
    """Whether a drive has the same volume as before, or another medium."""
    return _volume(before) == _volume(after) or (_is_cdrom(before) and _is_cdrom(after))


def _is_cdrom(drive: str) -> bool:
    return Properties(drive, "file").get("media") == "cdrom"


def _volume(drive: str) -> str:
    return Properties(drive, "file").get("file", "")
