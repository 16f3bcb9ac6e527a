"""Every error that Jotunheim raises on purpose.

    JotunheimError                      code, message, retryable, hint
    ├── model.DataValidationError       data that breaks a rule, all bad fields at once
    ├── model.IllegalTransitionError    a row asked to move where its state table has no arrow
    ├── repository.NotFoundError        no such row
    ├── repository.UniquenessError      a row like it exists
    ├── repository.LeaseLostError       another worker owns the job now
    ├── repository.StoreUnavailableError  the database or the state directory cannot be used
    ├── repository.SecretError          a secret is missing or cannot be decrypted
    ├── repository.ProxmoxRequestError  what Proxmox VE answered, or that it did not (one subclass per kind)
    ├── service.ServiceError            what we decide not to do (one subclass per reason)
    └── service.ServerDeploymentError   a run that failed, as the job records it

`http` turns these into answers of the API; it is the only module here that knows about HTTP.
"""


class JotunheimError(Exception):
    """Base of all errors raised on purpose.

    Attributes:
        code: stable identifier that callers may script against, e.g. ``node_unavailable``.
        message: one sentence for a person. Never holds a secret.
        retryable: whether the same request may succeed later without a change.
        hint: what the reader can do about it, or None.
    """

    code = "internal"
    retryable = False

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
