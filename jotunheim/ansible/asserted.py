"""Which fields of a server are asserted when nothing is named: by jobs, by looks for drift, and by runs by hand."""

from jotunheim.repositories.peewee.servers import Server

ALL = frozenset(
    {
        "name",
        "hostname",
        "cpu",
        "memory_bytes",
        "addresses",
        "ssh_keys",
        "tags",
        "description",
        "network",
        "cloud_init",
        "boot_order",
        "agent",
        "iso",
        "anti_spoofing",
        "onboot",
    }
)
"""The fields of a change but for a disk's size: whoever grew it on the node is not contradicted."""

IMPORTED = frozenset({"cpu", "memory_bytes", "tags", "description", "iso"})
"""The same of an imported server, as long as it is what somebody else has made: nothing that its guest would notice."""


def asserted(server: Server) -> frozenset[str]:
    """The fields that are asserted when nothing is named."""
    if not server.imported:
        return ALL
    held = {"onboot"} if server.is_suspended else set()
    # Also when it is not throttled: what a backup or a snapshot brings back may be of a time when it was.
    is_limited = server.throttle_bytes_per_second or server.limits.get("traffic_bytes") is not None
    return IMPORTED | held | ({"rate"} if is_limited else set())
