"""Jobs about backups."""

from jotunheim.jobs.backup import create, delete, lock, restore

KINDS = (create.KIND, restore.KIND, *lock.KINDS, delete.KIND)
