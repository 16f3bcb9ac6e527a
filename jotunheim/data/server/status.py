"""The words for a server's state. Lifecycle, power and suspension are separate axes."""

from enum import StrEnum


class ServerStatus(StrEnum):
    """Lifecycle of a server; the legal moves stand in `repositories.peewee.servers`."""

    BUILDING = "building"
    READY = "ready"
    BUILD_FAILED = "build_failed"
    REBUILDING = "rebuilding"
    RESTORING = "restoring"
    RESTORE_FAILED = "restore_failed"
    DELETING = "deleting"
    DELETE_FAILED = "delete_failed"


class Power(StrEnum):
    """Whether the VM runs, as the hypervisor last said."""

    RUNNING = "running"
    STOPPED = "stopped"
    UNKNOWN = "unknown"

    @classmethod
    def _missing_(cls, value: object) -> "Power":
        """What else a hypervisor may say."""
        del value
        return cls.UNKNOWN


class PowerAction(StrEnum):
    """What can be done to a server's power."""

    START = "start"
    SHUTDOWN = "shutdown"
    STOP = "stop"
    REBOOT = "reboot"
    RESET = "reset"
