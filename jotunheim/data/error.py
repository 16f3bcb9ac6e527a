"""The one shape of the API's errors."""

from jotunheim.data.fields import View


class ErrorDetail(View):
    """One bad field, or one thing that stands in the way."""

    field: str
    message: str


class ErrorBody(View):
    """What went wrong."""

    code: str
    """One of the closed list in `exceptions.http`."""
    message: str
    details: list[ErrorDetail]
    request_id: str


class ErrorAnswer(View):
    """The answer to a request that failed."""

    error: ErrorBody
