"""The words for a backup's state."""

from enum import StrEnum


class BackupStatus(StrEnum):
    """Life of a backup; the legal moves stand in `repositories.peewee.backups`."""

    CREATING = "creating"
    READY = "ready"
    FAILED = "failed"
    DELETING = "deleting"


class BackupMode(StrEnum):
    """What the guest notices: nothing, a pause, or that it is shut down and started again."""

    SNAPSHOT = "snapshot"
    SUSPEND = "suspend"
    STOP = "stop"


class Compression(StrEnum):
    """How a backup is compressed; a Proxmox Backup Server does it in its own way."""

    ZSTD = "zstd"
    GZIP = "gzip"
    LZO = "lzo"
    NONE = "none"
