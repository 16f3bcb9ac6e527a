"""The one shape of the API's errors."""

from pydantic import BaseModel


class ErrorDetail(BaseModel):
    """One bad field, or one thing that stands in the way."""

    field: str
    message: str


class ErrorBody(BaseModel):
    """What went wrong."""

    code: str
    """One of the closed list in `exceptions.http`."""
    message: str
    details: list[ErrorDetail]
    request_id: str


class ErrorAnswer(BaseModel):
    """The answer to a request that failed."""

    error: ErrorBody
