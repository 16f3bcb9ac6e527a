"""Taking back what a request has recorded, when its job is cancelled before a worker has begun it."""

from jotunheim.data.job import JobType, OnCancel
from jotunheim.repositories.peewee.backups import Backup
from jotunheim.repositories.peewee.departure import forget
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.repositories.peewee.secrets import Secret
from jotunheim.repositories.peewee.servers import Server
from jotunheim.services.servers import configure, firewall


def withdraw(job: Job, server: Server, on_cancel: OnCancel) -> None:
    """Record again what was before; the VM was not touched. Call it within the transaction that cancels the job."""
    match job.type:
        case JobType.BUILD if on_cancel is OnCancel.KEEP:
            server.mark_build_failed()
        case JobType.BUILD | JobType.IMPORT:
            forget(server)
        case JobType.CONFIGURE:
            configure.put_back(server, job.parameters)
            configure.give_addresses_back(server, job.parameters)
        case JobType.FIREWALL:
            firewall.put_back(server, job.parameters)
        case JobType.PASSWORD | JobType.REBUILD:
            Secret.erase(server.password_reference)
        case JobType.BACKUP_CREATE:
            Backup.forget_wanted(job.parameters["backup_id"])
        case JobType.SUSPEND if server.suspended_from is None:
            server.unsuspend()
        case _:
            pass  # nothing was recorded but the job
