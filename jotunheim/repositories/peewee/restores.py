"""What restores of servers have left: Proxmox VE takes a VM's disks, and its configuration, away before it unpacks a backup's.

One of a new server that breaks off leaves a VM, too.
"""

from jotunheim.data.job import JobStatus, JobType
from jotunheim.repositories.peewee import job_history
from jotunheim.repositories.peewee.jobs import Job, JobEvent
from jotunheim.repositories.peewee.journal import NOTED
from jotunheim.repositories.peewee.servers import Server

TAKING_DISKS = "restore begun"
"""What a run notes right before the request after which the VM's disks are gone."""
MAKING_VM = "new restore begun"
"""What a run notes the VMID under, right before it makes a VM from a backup. The collection's `restore_new` has the same words."""
SPARED = "restore refused"
"""What it notes when Proxmox VE has refused that, and the VM is as it was. The collection's `restore` has the same words."""


def has_taken_disks(job: Job) -> bool:
    """Whether the server's disks may be gone: an attempt of this restore was about to take them away."""
    noted = [event.data["about"] for event in JobEvent.of_type(job.id, NOTED)]
    last = next((about for about in reversed(noted) if about in (TAKING_DISKS, SPARED)), None)
    return last == TAKING_DISKS


def has_broken_off(server: Server) -> bool:
    """Whether restores since the last one that succeeded may have left a server's VM without its mark."""
    for job in job_history.all_of(server, JobType.BACKUP_RESTORE):
        if job.status == JobStatus.SUCCEEDED:
            return False
        if has_taken_disks(job):
            return True
    builds = job_history.all_of(server, JobType.BUILD).where(Job.status != JobStatus.SUCCEEDED)
    return any(_has_made(job, server.vmid) for job in builds)


def _has_made(job: Job, vmid: int) -> bool:
    noted = (event.data for event in JobEvent.of_type(job.id, NOTED))
    return any(note["about"] == MAKING_VM and str(vmid) in note["things"] for note in noted)
