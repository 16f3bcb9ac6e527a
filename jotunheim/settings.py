"""Settings of the service: defaults, then a TOML file, then the environment.

Every setting has one name: `listen` here, `listen` in the TOML file, `JOTUNHEIM_LISTEN` in the
environment. The file is `JOTUNHEIM_CONFIG`, or `/etc/jotunheim/jotunheim.toml` if that exists. Unknown
names and bad values are refused with the name of the setting; a typing error never runs with a default.
"""

import os
import re
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
)

from jotunheim.exceptions.model import DataValidationError, FieldProblem

PREFIX = "JOTUNHEIM_"
DEFAULT_FILE = Path("/etc/jotunheim/jotunheim.toml")

# Of the command line's remote commands, the inventory plugin and this module itself, not settings of the service.
NOT_SETTINGS = {
    "JOTUNHEIM_CONFIG",
    "JOTUNHEIM_URL",
    "JOTUNHEIM_TOKEN",
    "JOTUNHEIM_TOKEN_FILE",
    "JOTUNHEIM_CA_FILE",
    "JOTUNHEIM_FINGERPRINT",
    "JOTUNHEIM_INVENTORY_SOURCE",
    "JOTUNHEIM_NODE_TOKEN_SECRET",
    "JOTUNHEIM_RUN_FILE",
    "JOTUNHEIM_SHARED_RUN",
}


def default_state_dir() -> Path:
    """`$XDG_STATE_HOME/jotunheim`, by default `~/.local/state/jotunheim`."""
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "jotunheim"


def _listen_address(value: str) -> str:
    host, separator, port = value.rpartition(":")
    if not separator or not host or not port.isdigit() or int(port) > 65535:
        raise ValueError("must be HOST:PORT, for example 127.0.0.1:8080 or [::1]:8080")
    return value


def _absolute(value: Path | None) -> Path | None:
    # Ansible runs in another working directory and reads the same settings.
    return value and value.expanduser().absolute()


AbsolutePath = Annotated[Path, AfterValidator(_absolute)]


def _listed(value: Any) -> Any:
    # The environment has no lists.
    return [part for part in re.split(r"[,\s]+", value) if part] if isinstance(value, str) else value


def _origin(value: str) -> str:
    if not re.fullmatch(r"https?://([a-z0-9.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?", value):
        raise ValueError(
            "must be an origin as browsers send it, for example https://panel.example.com; * is not possible"
        )
    return value


def _rate(value: str) -> str:
    if not value:
        return value
    from limits import parse_many  # not everybody who reads settings counts

    try:
        [rate] = parse_many(value)
    except ValueError:
        rate = None
    if rate is None or rate.amount < 1 or rate.multiples < 1:
        raise ValueError("must be such as 600/minute or 10 per 30 seconds; empty: there is no limit")
    return value


_THRESHOLD = re.compile(r"([1-9][0-9]{0,2}|1000)=(notify|suspend|throttle:([1-9][0-9]{3,11}))")


def _policy(value: str) -> str:
    parts = [part for part in re.split(r"[,\s]+", value) if part]
    keys = [part.partition(":")[0] for part in parts]
    if not all(_THRESHOLD.fullmatch(part) for part in parts) or len(set(keys)) < len(keys):
        raise ValueError(
            "must be such as 80=notify, 100=throttle:1000000, 120=suspend: percent of the limit (1 to 1000), what follows,"
            " and the bytes per second that servers are throttled to (1000 or more); none twice"
        )
    return ",".join(parts)


def _time_zone(value: str) -> str:
    from zoneinfo import ZoneInfo

    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        raise ValueError("must be a time zone, for example UTC or Europe/Berlin") from None
    return value


def _network(value: Any) -> IPv4Network | IPv6Network:
    try:
        return ip_network(value)
    except ValueError:
        raise ValueError("must be an address or a network, for example 10.0.0.7 or 10.0.0.0/8") from None


def _proxy(value: Any) -> IPv4Network | IPv6Network:
    network = _network(value)
    if network.prefixlen == 0:
        raise ValueError("must not be everybody: anybody could name any address as their own")
    return network


Policy = Annotated[str, AfterValidator(_policy)]
Rate = Annotated[str, AfterValidator(_rate)]
Origin = Annotated[str, AfterValidator(_origin)]
Network = Annotated[IPv4Network | IPv6Network, BeforeValidator(_network)]
Proxies = Annotated[IPv4Network | IPv6Network, BeforeValidator(_proxy)]


class Settings(BaseModel):
    """What the service was told. Built by `load()`; frozen afterwards."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    state_dir: AbsolutePath = Field(default_factory=default_state_dir)
    database_url: SecretStr = SecretStr("")
    """`sqlite:///path` or `postgresql://…`; empty: `jotunheim.db` in the state directory."""
    queue_url: SecretStr = SecretStr("")
    """`sqlite:///path`, `postgresql://…` or `redis://…`; empty: beside the database."""
    secret_key: SecretStr | None = None
    """Keys that encrypt secrets at rest, one per line, the first one encrypts. Wins over the file."""
    secret_key_file: AbsolutePath | None = None
    """The same from a file; empty: `secret.key` in the state directory."""
    listen: Annotated[str, AfterValidator(_listen_address)] = "127.0.0.1:8080"
    worker_concurrency: int = Field(default=4, ge=1, le=64)
    """Runs at once in one worker process."""
    batch_jobs: int = Field(default=25, ge=1, le=50)
    """How many jobs of one type share a run; 1: each has its own."""
    max_running_jobs: int = Field(default=0, ge=0)
    """Jobs that run at once in all workers; 0: as many as the workers carry out."""
    max_clones_per_storage: int = Field(default=0, ge=0)
    """Builds and rebuilds at once that write to storages of one name; 0: only the nodes' own limits count."""
    max_backups_per_node: int = Field(default=1, ge=0)
    """Backups that are made at once on one node, which makes one after the other anyway; 0: any number."""
    queue_limit: int = Field(default=10_000, ge=1)
    """Jobs that wait at once; further requests are answered with 429."""
    owner_queue_limit: int = Field(default=200, ge=1)
    """Jobs that wait at once on the servers of one owner who is no administrator."""
    retry_base_seconds: float = Field(default=2.0, ge=0, le=3600, allow_inf_nan=False)
    """The pause before a job is tried again after a failure that may pass; it grows. 0: jobs fail at once."""
    lease_seconds: float = Field(default=10.0, ge=1, allow_inf_nan=False)
    """How long a silent worker keeps its jobs; renewed at a third of it."""
    sweep_seconds: float = Field(default=3.0, gt=0, allow_inf_nan=False)
    """How often a worker looks for jobs whose wake-up or worker was lost."""
    sync_seconds: float = Field(default=60.0, gt=0, allow_inf_nan=False)
    """How often a worker asks each node what it has and which servers run, and stops suspended ones that do."""
    orphan_scan_seconds: float = Field(default=86_400.0, ge=0, allow_inf_nan=False)
    """How often workers look on each node for what is in no record; 0: only when somebody asks."""
    drift_sweep_seconds: float = Field(default=3600.0, ge=0, allow_inf_nan=False)
    """How often the VMs of all servers are compared with what is recorded; 0: only when somebody asks for it."""
    drift_batch_servers: int = Field(default=100, ge=1, le=1000)
    """How many servers one run looks at; between two runs, other jobs go first."""
    drift_reassert: bool = True
    """Whether suspension, firewall and ownership mark of a server are put right by themselves when a look finds them changed."""
    drain_seconds: float = Field(default=60.0, ge=0, allow_inf_nan=False)
    """How long a worker that was told to stop lets its runs finish."""
    job_timeout_seconds: int = Field(default=3600, ge=10)
    """The longest that one run may take."""
    backup_timeout_seconds: int = Field(default=6 * 3600, ge=10, le=7 * 86_400)
    """The longest that making a backup, or going back to one, may take."""
    backup_rate_limit: Rate = "10/hour"
    """How many backups of a server its owner may ask for; empty: as many as there may be."""
    backup_schedule_seconds: int = Field(default=3600, ge=60, le=366 * 86_400)
    """How far apart the backups of a schedule are that an owner makes, at least."""
    warm_ansible: bool = True
    """Whether workers keep Ansible loaded and fork it for each run."""
    guest_agent_wait_seconds: int = Field(default=0, ge=0)
    """How long a build waits for the guest agent before it ends without it."""
    vmid_first: int = Field(default=1000, ge=100, le=999_999_999)
    vmid_last: int = Field(default=999_999, ge=100, le=999_999_999)
    """The range that VMIDs are taken from."""
    placement_policy: str = Field(default="spread", pattern="^(spread|pack)$")
    """How a node is chosen among several, where a location says nothing else."""
    pve_connect_timeout_seconds: float = Field(default=5.0, gt=0, allow_inf_nan=False)
    pve_read_timeout_seconds: float = Field(default=30.0, gt=0, allow_inf_nan=False)
    max_body_bytes: int = Field(default=1_048_576, ge=1024)
    """The largest request body that the API reads."""
    session_seconds: int = Field(default=7 * 86_400, ge=60, le=366 * 86_400)
    """How long a login lasts, however much it is used."""
    session_idle_seconds: int = Field(default=12 * 3600, ge=300, le=366 * 86_400)
    """How long a login lasts unused; its use is noted to the minute."""
    cookie_secure: bool = True
    """Whether browsers send the session's cookie over HTTPS only."""
    admin_second_factor: bool = False
    """Whether operators who log in must have a second factor."""
    http_timeout_seconds: float = Field(default=30.0, ge=1, le=3600, allow_inf_nan=False)
    """How long a client has for a request's head, for its body, and to take some of an answer."""
    http_keep_alive_seconds: int = Field(default=75, ge=1, le=3600)
    """How long a connection is kept between two requests: longer than clients and proxies keep it, else one is closed in the
    moment in which the next request is sent on it."""
    max_connections: int = Field(default=4000, ge=10, le=100_000)
    """How many connections to the API may be open at once."""
    trusted_proxies: Annotated[tuple[Proxies, ...], BeforeValidator(_listed)] = ()
    """Addresses and networks of the proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` count."""
    cors_origins: Annotated[tuple[Origin, ...], BeforeValidator(_listed)] = ()
    """Origins of pages that may use the API from a browser, with a token; none: CORS is off."""
    hsts_seconds: int = Field(default=0, ge=0, le=63_072_000)
    """For how long browsers shall use nothing but HTTPS; 0: they are told nothing."""
    rate_limit: Rate = "3000/minute"
    """How many requests may be made with one token; empty: as many as one likes."""
    auth_failure_limit: Rate = "30/minute"
    """How many wrong tokens an address may show before it has to wait."""
    login_rate_limit: Rate = "10/minute"
    """How many logins may be tried for one account."""
    login_address_rate_limit: Rate = "60/minute"
    """How many logins may be tried from one address."""
    webhook_networks: Annotated[tuple[Network, ...], BeforeValidator(_listed)] = ()
    """Networks that operators' webhooks may call, by plain HTTP too, although they are not public."""
    webhook_owner_networks: Annotated[tuple[Network, ...], BeforeValidator(_listed)] = ()
    """The same for owners' webhooks. Whoever has a server learns with them what answers there."""
    webhook_ca_file: AbsolutePath | None = None
    """Authorities, in PEM, that certificates of receivers may be from besides the public ones."""
    webhook_concurrency: int = Field(default=16, ge=1, le=256)
    """Webhooks that one worker process calls at once."""
    webhook_timeout_seconds: float = Field(default=10.0, ge=0.5, le=120, allow_inf_nan=False)
    """How long a receiver has from the first byte to the last."""
    webhook_retry_base_seconds: float = Field(default=5.0, gt=0, le=3600, allow_inf_nan=False)
    """The pause before a webhook is called again after a failure; it grows to 4320 times as long."""
    webhook_disable_days: int = Field(default=5, ge=1, le=366)
    """For how long a webhook may fail until it is disabled."""
    webhook_days: int = Field(default=30, ge=1, le=3660)
    """How long events and the log of their deliveries are kept."""
    traffic_counted: str = Field(default="both", pattern="^(in|out|both)$")
    """Which traffic is held against `limits.traffic_bytes`: what servers receive, what they send, or both."""
    traffic_policy: Policy = "80=notify,100=throttle:1000000"
    """What follows when parts of that are used up, for servers that have no policy of their own; empty: nothing."""
    traffic_timezone: Annotated[str, AfterValidator(_time_zone)] = "UTC"
    """Whose months are counted."""
    traffic_months: int = Field(default=24, ge=1, le=1200)
    """How long monthly totals are kept, also of servers that are gone."""
    audit_days: int = Field(default=365, ge=0, le=36_500)
    """How long entries of the audit log are kept; 0: for ever."""
    log_level: str = Field(default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$")

    @property
    def database(self) -> str:
        """URL of the database. It may hold a password."""
        return self.database_url.get_secret_value() or f"sqlite:///{self.state_dir / 'jotunheim.db'}"

    @property
    def queue(self) -> str:
        """URL of the queue: as set; else the PostgreSQL database, or a SQLite file in the state directory.

        It may hold a password.
        """
        if self.queue_url.get_secret_value():
            return self.queue_url.get_secret_value()
        if self.database.startswith("postgres"):
            return self.database
        return f"sqlite:///{self.state_dir / 'queue.db'}"

    @property
    def key_file(self) -> Path:
        """Where the keys are read from when `secret_key` is not set."""
        return self.secret_key_file or self.state_dir / "secret.key"

    @property
    def runs_dir(self) -> Path:
        """Where runs have their directories while they last."""
        return self.state_dir / "runs"


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings.

    Args:
        environ: the environment; default `os.environ`.

    Raises:
        DataValidationError: naming every unknown or bad setting.
    """
    environ = os.environ if environ is None else environ
    values: dict[str, Any] = {}
    file = Path(environ.get("JOTUNHEIM_CONFIG", DEFAULT_FILE))
    if "JOTUNHEIM_CONFIG" in environ or file.exists():
        values.update(_from_file(file))
    for name, value in environ.items():
        if name.startswith(PREFIX) and name not in NOT_SETTINGS:
            values[name.removeprefix(PREFIX).lower()] = value
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        # include_input=False: a bad value may be a secret.
        raise DataValidationError(
            [
                FieldProblem(PREFIX + ".".join(map(str, problem["loc"])).upper(), problem["msg"])
                for problem in error.errors(include_input=False, include_url=False)
            ]
        ) from None
    if settings.vmid_first > settings.vmid_last:
        raise DataValidationError(
            [FieldProblem("JOTUNHEIM_VMID_LAST", "must not be below JOTUNHEIM_VMID_FIRST")]
        )
    return settings


def _from_file(file: Path) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(file.read_text())
    except OSError as error:
        raise DataValidationError(
            [FieldProblem("JOTUNHEIM_CONFIG", f"{file} cannot be read: {error.strerror}")]
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataValidationError(
            [FieldProblem("JOTUNHEIM_CONFIG", f"{file} is not TOML: {error}")]
        ) from None
