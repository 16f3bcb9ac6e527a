"""The queries of the lists of servers, jobs and SSH keys, for operators and owners."""

import uuid

from pydantic import Field

from jotunheim.data.fields import LABEL_KEY, SQL_INTEGER_MAX
from jotunheim.data.job import JobStatus
from jotunheim.exceptions.model import DataValidationError, FieldProblem
from jotunheim.routes.operation import ListQuery


class ServerListQuery(ListQuery):
    """The query of the list of servers."""

    label_selector: str | None = Field(default=None, max_length=1024)
    """`env=ci,tier=web`: servers that have all these labels."""

    def labels(self) -> dict[str, str]:
        """The wanted labels.

        Raises:
            DataValidationError: the selector is not of that form.
        """
        wanted = {}
        for term in self.label_selector.split(",") if self.label_selector else []:
            key, equals, value = term.strip().partition("=")
            if not equals or not LABEL_KEY.fullmatch(key):
                raise DataValidationError(
                    [FieldProblem("label_selector", "must be KEY=VALUE, joined by commas")]
                )
            wanted[key] = value
        return wanted


class RulesetListQuery(ListQuery):
    """The query of the list of firewall rulesets."""

    name: str | None = Field(default=None, max_length=255)
    """Only those whose name contains this."""


class RulesetServersQuery(RulesetListQuery):
    """The query of the list of servers that apply a firewall ruleset."""

    outdated: bool | None = None
    """Only servers that do not have its present rules, or only those that have them."""


class JobListQuery(ListQuery):
    """The query of the list of jobs."""

    status: JobStatus | None = None
    server_id: uuid.UUID | None = None
    request_id: str | None = Field(default=None, max_length=128)
    """Jobs that the request with this `X-Request-ID` asked for."""


class SshKeyListQuery(ListQuery):
    """The query of the list of one's own SSH keys."""

    name: str | None = Field(default=None, max_length=255)
    fingerprint: str | None = Field(default=None, max_length=64)
    """`SHA256:…`."""


class UserSshKeyListQuery(SshKeyListQuery):
    """The query of the list of all SSH keys."""

    user_id: int | None = Field(default=None, gt=0, le=SQL_INTEGER_MAX)
    """Only this user's."""
    mine: bool = False
    """Only those of whoever asks; `user_id` does not count then."""
