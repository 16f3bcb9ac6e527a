"""What we decide not to do, and runs that failed."""

from collections.abc import Sequence

from jotunheim.exceptions import JotunheimError
from jotunheim.exceptions.model import FieldProblem


class ServiceError(JotunheimError):
    """A request that was understood and is refused.

    Attributes:
        details: what exactly stands in the way, by field or thing.
        retry_after_seconds: when it may be worth to ask again; None: nobody knows.
    """

    retry_after_seconds: int | None = None

    def __init__(
        self, message: str, *, details: Sequence[FieldProblem] = (), hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.details = tuple(details)


class UnauthorizedError(ServiceError):
    """The request carries no valid token."""

    code = "unauthorized"


class ForbiddenError(ServiceError):
    """The token is valid and does not allow this."""

    code = "forbidden"


class ConflictError(ServiceError):
    """The request contradicts what is so, e.g. an idempotency key that was used for something else."""

    code = "conflict"


class LockedError(ServiceError):
    """Another job has the server, or what else is asked for; the details name the job."""

    code = "locked"

    def __init__(self, job_id: object, job_type: str, *, what: str = "server") -> None:
        super().__init__(
            f"The {what} is locked by job {job_id} ({job_type}).",
            details=[FieldProblem("job_id", str(job_id))],
            hint="Wait for that job, then ask again.",
        )


class ProtectedError(ServiceError):
    """The server is protected against deletion."""

    code = "protected"


class ResourceLimitExceededError(ServiceError):
    """The server's limits do not allow more."""

    code = "resource_limit_exceeded"


class QueueFullError(ServiceError):
    """As many jobs wait as may wait. Nothing was recorded; the same request may be accepted a little later."""

    code = "rate_limit_exceeded"
    retryable = True
    retry_after_seconds = 5


class RateLimitExceededError(ServiceError):
    """Somebody asks too often. The same request may be accepted a little later."""

    code = "rate_limit_exceeded"
    retryable = True

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__(f"Too many requests; try again in {retry_after_seconds} seconds.")
        self.retry_after_seconds = retry_after_seconds


class PreconditionFailedError(ServiceError):
    """What is there is not what `If-Match` names: somebody changed it."""

    code = "precondition_failed"


class NodeUnavailableError(ServiceError):
    """The node had to be asked, and gave no usable answer."""

    code = "node_unavailable"
    retry_after_seconds = 30


class PlacementError(ServiceError):
    """No node, VMID or address is to be had for a server."""

    code = "placement_error"


class ServerDeploymentError(JotunheimError):
    """A run that did not reach its goal; what the job shows as its error."""

    def __init__(self, code: str, message: str, *, retryable: bool = False, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.retryable = retryable
