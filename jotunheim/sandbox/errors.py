"""The answers of PVE that are not a success.

`ApiError` is raised by handlers (the answer's status, reason phrase and body follow from it) and by
task workers (its message becomes the task's exit status).
"""


class ApiError(Exception):
    """An answer of PVE other than 200.

    Attributes:
        status: HTTP status.
        message: PVE's message without the trailing newline; its first line is the reason phrase.
        errors: the parameters at fault, for 400.
        bare: answer with an empty body, as the authentication layer and the node proxy do.
    """

    def __init__(
        self, status: int, message: str, errors: dict[str, str] | None = None, *, bare: bool = False
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.errors = errors
        self.bare = bare


def failure(message: str) -> ApiError:
    """PVE's `die`: 500 with the message."""
    return ApiError(500, message)


def bad_params(**errors: str) -> ApiError:
    """PVE's `raise_param_exc`. Underscores stand for the dashes of parameter names."""
    return bad_parameters({name.replace("_", "-"): message for name, message in errors.items()})


def bad_parameters(errors: dict[str, str]) -> ApiError:
    """As `bad_params`, for names that are no Python identifiers."""
    return ApiError(400, "Parameter verification failed.", errors)


def forbidden(what: str) -> ApiError:
    """PVE's `raise_perm_exc`."""
    return ApiError(403, f"Permission check failed ({what})")


def missing_config(node: str, vmid: int) -> ApiError:
    """What loading the configuration of a VM that does not exist says."""
    return failure(f"Configuration file 'nodes/{node}/qemu-server/{vmid}.conf' does not exist")
