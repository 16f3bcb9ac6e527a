"""The words for a server's state. Lifecycle and power are separate axes."""

from enum import StrEnum


class ServerStatus(StrEnum):
    """Lifecycle of a server; the legal moves stand in `repositories.peewee.servers`."""

    BUILDING = "building"
    READY = "ready"
    BUILD_FAILED = "build_failed"


class Power(StrEnum):
    """Whether the VM runs, as the hypervisor last said."""

    RUNNING = "running"
    STOPPED = "stopped"
    UNKNOWN = "unknown"
