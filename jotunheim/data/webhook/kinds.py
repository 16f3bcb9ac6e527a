"""The closed sets: of what receivers are told, and how that went."""

from enum import StrEnum


class EventKind(StrEnum):
    """What a webhook can be told; the `type` of an event."""

    JOB_SUCCEEDED = "job.succeeded"
    JOB_FAILED = "job.failed"
    JOB_CANCELLED = "job.cancelled"
    BACKUP_FAILED = "backup.failed"
    NODE_OFFLINE = "node.offline"
    NODE_ONLINE = "node.online"
    QUOTA_WARNED = "quota.warned"
    QUOTA_EXCEEDED = "quota.exceeded"
    QUOTA_RESET = "quota.reset"
    SERVER_DRIFTED = "server.drifted"
    TEST = "webhook.test"


ALL = "*"
"""In place of the names of events: all of them."""
OPERATORS_KINDS = frozenset({EventKind.NODE_OFFLINE, EventKind.NODE_ONLINE, EventKind.SERVER_DRIFTED})
"""Of what is the operator's: owners cannot ask for them by name."""


class DeliveryStatus(StrEnum):
    """Life of a delivery. A failed one can be asked for once more."""

    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class DisabledReason(StrEnum):
    """Why a webhook was disabled by the service itself."""

    GONE = "gone"
    """The receiver answered 410."""
    FAILING = "failing"
    """Nothing was delivered for days."""


class AttemptError(StrEnum):
    """Why an attempt did not succeed."""

    STATUS = "status"
    """The receiver answered something other than 2xx."""
    UNREACHABLE = "unreachable"
    """Its name has no address that may be called, or nothing answers there."""
    TLS = "tls"
    """Its certificate is not valid for its name."""
    TIMEOUT = "timeout"
    """It did not answer in time."""
    PROTOCOL = "protocol"
    """What it answered is no HTTP."""
    INTERRUPTED = "interrupted"
    """The worker ended meanwhile; whether the receiver got it is not known."""
    SETUP = "setup"
    """The webhook's URL or secret could not be read."""
