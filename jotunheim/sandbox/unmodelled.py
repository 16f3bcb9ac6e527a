"""Parameters of modelled methods that the sandbox does not act on.

To ignore them would be silently wrong, so a request that sets one is refused with 501. Left out of this table, and
ignored, is only what changes nothing that the API shows: how bytes travel in a migration
(`migration_network`, `migration_type`), SPICE's `proxy`, a ticket's `new-format`.
"""

from collections.abc import Mapping
from typing import Any

VM = "/nodes/{node}/qemu/{vmid}"

PARAMETERS: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("POST", "/access/ticket"): ("otp", "tfa-challenge"),
    ("POST", "/access/users"): ("keys",),
    ("PUT", "/access/users/{userid}"): ("keys",),
    ("PUT", "/access/users/{userid}/token/{tokenid}"): ("delete", "regenerate"),
    ("POST", "/nodes/{node}/storage/{storage}/download-url"): ("compression",),
    ("POST", "/nodes/{node}/qemu"): ("live-restore", "ha-managed", "cdrom"),
    ("POST", f"{VM}/migrate"): ("targetstorage", "force", "with-conntrack-state"),
    ("POST", f"{VM}/status/resume"): ("nocheck",),
    ("POST", f"{VM}/status/shutdown"): ("keepActive",),
    ("POST", f"{VM}/status/start"): (
        "machine",
        "force-cpu",
        "migratedfrom",
        "nets-host-mtu",
        "stateuri",
        "targetstorage",
        "with-conntrack-state",
    ),
    ("POST", f"{VM}/status/stop"): ("keepActive",),
    ("POST", "/nodes/{node}/vzdump"): (
        "dumpdir",
        "exclude",
        "exclude-path",
        "fleecing",
        "job-id",
        "mailto",
        "pbs-change-detection-mode",
        "pool",
        "prune-backups",
        "script",
        "stdout",
        "stop",
        "tmpdir",
    ),
}


def parameter(method: str, template: str, params: Mapping[str, Any]) -> str | None:
    """The first parameter of the table that a request sets."""
    return next((name for name in PARAMETERS.get((method, template), ()) if params.get(name)), None)
