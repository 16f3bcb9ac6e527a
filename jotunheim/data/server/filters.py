"""To which servers a list is narrowed: what must be met exactly, as a query or an inventory's options say it, in texts."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from jotunheim.data.fields import LABEL_KEY, Id, Vmid
from jotunheim.data.server.status import Power, ServerStatus
from jotunheim.exceptions.model import DataValidationError, FieldProblem


class OwnServerFilters(BaseModel):
    """What owners can narrow their servers to."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True
    )

    name: str | None = Field(default=None, max_length=255)
    status: ServerStatus | None = None
    power: Power | None = None
    suspended: bool | None = None
    protected: bool | None = None
    template_id: Id | None = None
    label_selector: str | None = Field(default=None, max_length=1024)
    """`env=ci,tier=web`: servers that have all these labels."""


class ServerFilters(OwnServerFilters):
    """What operators can narrow the list of all servers to."""

    owner_id: Id | None = None
    node_id: Id | None = None
    location_id: Id | None = None
    vmid: Vmid | None = None
    external_id: str | None = Field(default=None, max_length=255)


def by_label(wanted: dict[str, Any]) -> dict[str, Any]:
    """Filters that were given, by name, with the labels one by one as `labels` in place of the selector.

    Raises:
        DataValidationError: the selector is not of the form `KEY=VALUE,…`.
    """
    others = {name: value for name, value in wanted.items() if name != "label_selector"}
    selector = wanted.get("label_selector")
    return others | ({"labels": _labels(selector)} if selector else {})


def _labels(selector: str) -> dict[str, str]:
    wanted = {}
    for term in selector.split(","):
        key, equals, value = term.strip().partition("=")
        if not equals or not LABEL_KEY.fullmatch(key):
            raise DataValidationError([FieldProblem("label_selector", "must be KEY=VALUE, joined by commas")])
        wanted[key] = value
    return wanted
