"""What we decide not to do, and runs that failed."""

from collections.abc import Sequence

from jotunheim.exceptions import JotunheimError
from jotunheim.exceptions.model import FieldProblem


class ServiceError(JotunheimError):
    """A request that was understood and is refused.

    Attributes:
        details: what exactly stands in the way, by field or thing.
    """

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


class PlacementError(ServiceError):
    """No node, VMID or address is to be had for a server."""

    code = "placement_error"


class ServerDeploymentError(JotunheimError):
    """A run that did not reach its goal; what the job shows as its error."""

    def __init__(self, code: str, message: str, *, retryable: bool = False, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.retryable = retryable
