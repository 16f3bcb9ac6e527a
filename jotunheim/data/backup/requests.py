"""What can be asked about backups, one shape a request."""

from jotunheim.data.backup.status import BackupMode, Compression
from jotunheim.data.fields import Notes, Shape, StorageId


class ClientBackupSpec(Shape):
    """A backup to be made."""

    mode: BackupMode = BackupMode.SNAPSHOT
    compress: Compression = Compression.ZSTD
    notes: Notes = ""


class BackupSpec(ClientBackupSpec):
    """A backup to be made, as an operator asks for it."""

    storage: StorageId | None = None
    """None: the node's `backup_storage`."""


class RestoreRequest(Shape):
    """That a server goes back to a backup."""

    stop: bool = False
    """Stop the server if it runs; it is started again afterwards. Without it, a running server is refused."""
    destroy_snapshots: bool = False
    """Snapshots go with the disks; a server that has some is only restored when they may go."""
