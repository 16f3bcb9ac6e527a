"""What the store and Proxmox VE can answer when they do not do what was asked."""

from collections.abc import Iterable, Mapping

from jotunheim.exceptions import JotunheimError


class NotFoundError(JotunheimError):
    """No such row, or none that the caller may see."""

    code = "not_found"

    def __init__(self, what: str, identity: object) -> None:
        super().__init__(f"There is no {what} {identity}.")


class UniquenessError(JotunheimError):
    """A row with the same unique value exists."""

    code = "uniqueness_error"


class InUseError(JotunheimError):
    """A row cannot go because others refer to it, or cannot come because what it refers to has gone."""

    code = "conflict"


class LeaseLostError(JotunheimError):
    """The job's lease moved to another worker; whoever gets this must stop writing at once."""

    code = "lease_lost"


class SecretError(JotunheimError):
    """A secret is missing, or the key that encrypted it is not at hand."""

    code = "secret_unavailable"


class StoreUnavailableError(JotunheimError):
    """The database or the state directory cannot be used."""

    code = "store_unavailable"
    retryable = True


class ProxmoxRequestError(JotunheimError):
    """Proxmox VE refused a request, failed it, or did not answer.

    Attributes:
        status: HTTP status, or None when there was no answer.
        parameters: PVE's messages by parameter, from a 400.
    """

    code = "proxmox_error"

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        parameters: Mapping[str, str] | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.parameters = dict(parameters or {})


class ProxmoxUnavailableError(ProxmoxRequestError):
    """No connection, a broken one, no answer in time, or the proxy's 595/596: the effect is unknown."""

    code = "node_unavailable"
    retryable = True


class ProxmoxCertificateError(ProxmoxRequestError):
    """The node's certificate is not the one that was promised. Nothing was sent."""

    code = "certificate_mismatch"


class ProxmoxUnauthorizedError(ProxmoxRequestError):
    """401: the token is wrong, expired or revoked."""

    code = "node_unauthorized"


class ProxmoxPermissionError(ProxmoxRequestError):
    """403: the token is valid and lacks a privilege."""

    code = "node_permission"


class ProxmoxNotFoundError(ProxmoxRequestError):
    """A VM, node, storage, pool, snapshot or task that does not exist."""

    code = "node_not_found"


class ProxmoxVmNotFoundError(ProxmoxNotFoundError):
    """The node has no configuration file for the VMID. Another node of the cluster may have one."""

    code = "vm_not_found"


class ProxmoxLockedError(ProxmoxRequestError):
    """The VM is locked by another operation, or its lock could not be had in time."""

    code = "vm_locked"
    retryable = True


class ProxmoxConfigChangedError(ProxmoxRequestError):
    """The configuration changed between our read and our write; nothing was written."""

    code = "config_changed"
    retryable = True


class ProxmoxTimeoutError(ProxmoxRequestError):
    """A task did not end within the time we were willing to wait. It may still end well."""

    code = "task_timeout"
    retryable = True


class ProxmoxTaskFailedError(ProxmoxRequestError):
    """A task ended with another exit status than OK.

    Attributes:
        upid: the task's id, for `pvesh` or the node's task log.
    """

    code = "task_failed"

    def __init__(self, message: str, *, upid: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.upid = upid


class ShutdownTimeoutError(ProxmoxTaskFailedError):
    """The guest did not shut down in the time that it was given. The VM runs on."""

    code = "shutdown_timeout"
    retryable = True


class GuestRefusedError(ProxmoxRequestError):
    """The guest's agent answered, and did not do what it was asked."""

    code = "guest_refused"


class GuestUnreachableError(ProxmoxRequestError):
    """The guest's agent does not answer, or there is none. Nothing was begun in the guest."""

    code = "guest_unreachable"
    retryable = True


class GuestInterruptedError(ProxmoxRequestError):
    """A command in the guest was cut short, or its result is lost; how far it came is not known."""

    code = "guest_interrupted"


class GuestTimeoutError(ProxmoxRequestError):
    """A command in the guest took longer than it may, and was ended there."""

    code = "guest_timeout"


class SnapshotNotFoundError(ProxmoxNotFoundError):
    """The VM has no snapshot of this name."""

    code = "snapshot_not_found"


class SnapshotBrokenError(ProxmoxRequestError):
    """A snapshot that was never finished, or whose deletion was not; nothing works on it any more."""

    code = "snapshot_broken"


class BackupNotFoundError(ProxmoxNotFoundError):
    """The storage has no such backup."""

    code = "backup_not_found"


class BackupProtectedError(ProxmoxRequestError):
    """The storage does not let the backup go."""

    code = "backup_protected"


class VmNotOursError(ProxmoxRequestError):
    """The VM under this VMID does not carry our server's UUID; it must not be touched."""

    code = "vm_not_ours"


class VmMovedError(ProxmoxRequestError):
    """The VM is not on this node but on another one of the cluster."""

    code = "vm_moved"


class VmProtectedError(ProxmoxRequestError):
    """PVE's own protection flag is set: the VM and its disks cannot be removed."""

    code = "vm_protected"


class VmRunningError(ProxmoxRequestError):
    """The VM runs, and what was asked for needs it stopped."""

    code = "vm_running"


class SnapshotsExistError(ProxmoxRequestError):
    """Snapshots hold the disk that shall be replaced."""

    code = "snapshots_exist"


class UnsupportedTemplateError(ProxmoxRequestError):
    """The template does not fit the VM that shall be rebuilt from it."""

    code = "unsupported_template"


class TemplateDiffersError(ProxmoxRequestError):
    """A template of ours has the VMID, and it is of another image or size than the wanted one."""

    code = "template_differs"


class TemplateInUseError(ProxmoxRequestError):
    """Disks are linked to those of a template that shall be replaced."""

    code = "template_in_use"


class RebuildIncompleteError(ProxmoxRequestError):
    """A stage of a rebuild was asked for before the one that has to come first."""

    code = "rebuild_incomplete"


class OrphanChangedError(ProxmoxRequestError):
    """What shall be pruned is not, or not any more, what was found."""

    code = "orphan_changed"


class PlanOutdatedError(ProxmoxRequestError):
    """The node's state is no longer the one that the previewed plan rests on; nothing was changed."""

    code = "plan_outdated"


class VmidTakenError(ProxmoxRequestError):
    """The VMID belongs to a VM that is not ours; another one has to be chosen.

    Attributes:
        taken_vmids: all VMIDs of the cluster that the token can see, sorted; empty while unknown.
    """

    code = "vmid_taken"

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        taken_vmids: Iterable[int] = (),
        hint: str | None = None,
    ) -> None:
        super().__init__(message, status=status, hint=hint)
        self.taken_vmids = tuple(sorted(taken_vmids))
