"""The Proxmox VE client: one session, typed errors, safe retries, task polling."""

import time
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Literal, NoReturn, Self
from urllib.parse import quote

import requests
from proxmoxer import ResourceException

from jotunheim.exceptions.repository import ProxmoxRequestError, ProxmoxTimeoutError, ProxmoxUnavailableError
from jotunheim.repositories.proxmox import errors
from jotunheim.repositories.proxmox.endpoint import Endpoint
from jotunheim.repositories.proxmox.tasks import Note, TaskJournal, Upid, is_upid, pauses, succeeded
from jotunheim.repositories.proxmox.transport import connect

Method = Literal["GET", "POST", "PUT", "DELETE"]

# Pauses before a request is sent again. Only what cannot have had an effect is.
_RETRY_PAUSES_SECONDS = (0.2, 0.8)

# A node whose services restart is away for some seconds; a task's result is waited for through that.
_TOLERATED_SILENCE_SECONDS = 60

_LOG_LINES_READ = 500
_LOG_LINES_SHOWN = 5

_SECRET_PARAMETERS = frozenset({"cipassword", "password"})


def api_path(*parts: object) -> str:
    """A path below /api2/json from its parts, each quoted: ``api_path("nodes", "pve1", "qemu", 100)``.

    Raises:
        ValueError: a part is empty or would leave its place in the path.
    """
    texts = [str(part) for part in parts]
    for text in texts:
        if text in {"", ".", ".."}:
            raise ValueError(f"{text!r} cannot be part of a path")
    return "/".join(quote(text, safe=":@!+") for text in texts)


class ProxmoxClient:
    """Speaks to one node for one piece of work; not for use from several threads.

    Every method raises the subclasses of ProxmoxRequestError. Requests that change something first ask
    the journal whether the job is still ours (LeaseLostError).
    """

    def __init__(self, endpoint: Endpoint, journal: TaskJournal | None = None) -> None:
        self._endpoint = endpoint
        self._journal = journal
        self._session, self._api = connect(endpoint)
        self.upids: list[str] = []
        self.before_change: Callable[[], None] | None = None
        """Called before every request that changes something; what it raises prevents it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.close()

    def __repr__(self) -> str:
        return f"ProxmoxClient({self._endpoint!r})"

    def get(self, path: str, /, **params: Any) -> Any:
        """Read. Sent again, twice at most, when the node did not answer; not after a timeout."""
        return self._request("GET", path, params)

    def post(self, path: str, /, **params: Any) -> Any:
        """Change something. Sent once, unless the connection was refused."""
        return self._change("POST", path, params)

    def put(self, path: str, /, **params: Any) -> Any:
        """Change something. Sent once, unless the connection was refused."""
        return self._change("PUT", path, params)

    def delete(self, path: str, /, **params: Any) -> Any:
        """Remove something. Sent once, unless the connection was refused."""
        return self._change("DELETE", path, params)

    def run(
        self, operation: str, method: Method, path: str, /, *, timeout_seconds: float, **params: Any
    ) -> str | None:
        """Start a task, note its id in the journal, and wait for its end.

        Args:
            operation: the journal's name for it, see `TaskJournal`.
            timeout_seconds: how long to wait.

        Returns:
            The task's id; None when PVE did the work at once.
        """
        if self._journal is not None and self._journal.recall(operation) not in (None, *self.upids):
            # An earlier attempt's may still run, and would hold the VM's lock for longer than this one waits for it.
            self.settle(operation, timeout_seconds)
        data = self._change(method, path, params, operation)
        if not is_upid(data):
            return None
        upid = str(data)
        self.upids.append(upid)
        self.wait(upid, timeout_seconds)
        return upid

    def settle(self, operation: str, timeout_seconds: float) -> str | None:
        """Wait for the end, good or bad, of a task that the job's earlier attempt left behind.

        What it did is then seen in the VM's state, which the caller reads next.

        Returns:
            The task's id; None when there is none.
        """
        upid, _ = self._settle(operation, timeout_seconds)
        return upid

    def finished(self, operation: str, timeout_seconds: float) -> bool:
        """Whether the job's earlier attempt did this already, for commands that no state shows.

        Waits like `settle`. False when there is no task, when it failed, or when the node has forgotten it.
        """
        _, well = self._settle(operation, timeout_seconds)
        return well

    def note(self, about: str, things: Iterable[str] = ()) -> None:
        """Keep in the journal what is about to be done, for what the node does not show afterwards."""
        if self._journal is not None:
            self._journal.note(about, list(things))

    def noted(self, about: str) -> list[Note]:
        """What this job was about to do, in earlier attempts too, the oldest first; nothing without a journal."""
        return [] if self._journal is None else self._journal.noted(about)

    def _settle(self, operation: str, timeout_seconds: float) -> tuple[str | None, bool]:
        upid = self._journal.recall(operation) if self._journal is not None else None
        if upid is None:
            return None, False
        self.upids.append(upid)
        try:
            self.wait(upid, timeout_seconds)
        except (ProxmoxTimeoutError, ProxmoxUnavailableError):
            raise
        except ProxmoxRequestError:
            return upid, False  # it failed, or the node has forgotten it: the state tells what is left to do
        return upid, True

    def wait(
        self,
        upid: str,
        timeout_seconds: float,
        on_progress: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> None:
        """Poll a task until it has ended, first after 50 ms, later every second.

        Args:
            on_progress: called with PVE's task status at every look while the task runs.

        Raises:
            ProxmoxTaskFailedError: it failed; the message holds the log's last lines.
            ProxmoxTimeoutError: it still runs after `timeout_seconds`.
        """
        task = Upid.parse(upid)
        path = api_path("nodes", task.node, "tasks", upid, "status")
        deadline = time.monotonic() + timeout_seconds
        heard = time.monotonic()
        for pause in pauses():
            time.sleep(pause)
            try:
                status = self.get(path)
            except ProxmoxUnavailableError:
                if time.monotonic() - heard > min(_TOLERATED_SILENCE_SECONDS, timeout_seconds):
                    raise
                continue
            heard = time.monotonic()
            if status.get("status") == "stopped":
                self._judge(task, str(status.get("exitstatus", "")))
                return
            if on_progress is not None:
                on_progress(status)
            if heard >= deadline:
                raise ProxmoxTimeoutError(
                    f"Task {task.type} of {task.id or task.node} did not end within {timeout_seconds:g} s.",
                    hint=f"It may still end well. Task id: {upid}",
                )

    def _judge(self, task: Upid, exit_status: str) -> None:
        if succeeded(exit_status):
            return
        log = self.get(api_path("nodes", task.node, "tasks", task.text, "log"), limit=_LOG_LINES_READ)
        lines = [str(line.get("t", "")).strip() for line in log]
        shown = "\n".join([line for line in lines if line][-_LOG_LINES_SHOWN:])
        raise errors.from_task(task.text, exit_status, shown)

    def _change(
        self, method: Method, path: str, params: Mapping[str, Any], operation: str | None = None
    ) -> Any:
        if self.before_change is not None:
            self.before_change()
        if self._journal is None:
            return self._request(method, path, params)
        with self._journal.changing():
            data = self._request(method, path, params)
            if operation is not None and is_upid(data):
                self._journal.remember(operation, data)
        return data

    def _request(self, method: Method, path: str, params: Mapping[str, Any]) -> Any:
        encoded = {name: _encode(value) for name, value in params.items() if value is not None}
        pauses_left = list(_RETRY_PAUSES_SECONDS)
        while True:
            try:
                # A copy: proxmoxer changes what it is given.
                return getattr(self._api(path.strip("/")), method.lower())(**dict(encoded))
            except (ResourceException, requests.RequestException, ValueError) as error:
                if not pauses_left or not _may_repeat(method, error):
                    self._raise(error, f"{method} /{path.strip('/')}", encoded)
                time.sleep(pauses_left.pop(0))

    def _raise(self, error: Exception, what: str, params: Mapping[str, Any]) -> NoReturn:
        if isinstance(error, ResourceException):
            typed = errors.from_answer(error, what)
        else:
            typed = errors.from_transport(error, what, f"{self._endpoint.host}:{self._endpoint.port}")
        secrets = [
            self._endpoint.token_secret,
            *(str(params[name]) for name in _SECRET_PARAMETERS & params.keys()),
        ]
        typed.message = _masked(typed.message, secrets)
        typed.args = (typed.message,)
        typed.parameters = {name: _masked(text, secrets) for name, text in typed.parameters.items()}
        # Not chained: the original may hold a secret parameter, and the typed error says all of it.
        raise typed from None


def _may_repeat(method: Method, error: Exception) -> bool:
    if errors.was_not_sent(error):
        return True
    if method != "GET" or isinstance(error, requests.Timeout):
        return False
    if isinstance(error, ResourceException):
        return error.status_code in {595, 596}
    return isinstance(error, requests.ConnectionError) and not isinstance(error, requests.exceptions.SSLError)


def _masked(text: str, secrets: Iterable[str]) -> str:
    for secret in filter(None, secrets):
        text = text.replace(secret, "********")
    return text


def _encode(value: Any) -> Any:
    """PVE's form encoding: booleans are 1 and 0, a list is a repeated field."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, list | tuple):
        return [_encode(item) for item in value]
    return value
