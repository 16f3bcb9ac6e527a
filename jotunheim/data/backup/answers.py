"""The envelopes of the API's answers about backups: `{"backup": …}`, `{"backups": […], "meta": …}`."""

from jotunheim.data.answers import ClientServerJob, Meta, ServerJob
from jotunheim.data.backup.view import BackupView, ClientBackupView
from jotunheim.data.fields import View
from jotunheim.data.job import JobView


class BackupList(View):
    """A page of backups."""

    backups: list[BackupView]
    meta: Meta


class BackupAnswer(View):
    """One backup."""

    backup: BackupView


class BackupJob(View):
    """A backup, and the job that was queued for it."""

    backup: BackupView
    job: JobView


class ServerBackupJob(ServerJob):
    """A server, the job that was queued for it, and the backup that it is about."""

    backup: BackupView | None
    """None: a preview of a new one."""


class ClientBackupList(View):
    """A page of backups of one's own server."""

    backups: list[ClientBackupView]
    meta: Meta


class ClientBackupAnswer(View):
    """One backup of one's own server."""

    backup: ClientBackupView


class ClientServerBackupJob(ClientServerJob):
    """One's own server, the job that was queued for it, and the backup that it is about."""

    backup: ClientBackupView | None
    """None: a preview of a new one."""
