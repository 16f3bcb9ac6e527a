"""How long things take, how fast data is copied: what the control endpoint can change at runtime.

Durations are seconds as on a small real host; each is multiplied by the time scale.
"""

from dataclasses import dataclass, field

MIB = 1024**2

DURATIONS = {
    "auth_failure": 3.0,  # PVE delays every 401 by this much
    "lock_timeout": 10.0,  # how long a request waits for a VM's lock file
    "agent_silence": 3.0,  # how long PVE waits for an agent that does not answer
    "statistics": 10.0,  # the interval of the statistics daemon, which feeds cluster/resources
    "vnc_timeout": 10.0,  # how long vncproxy waits for a port that never opens
    "clone": 0.4,  # on top of the copying
    "create": 0.4,
    "config": 0.0,
    "resize": 0.3,
    "start": 1.0,
    "boot": 12.0,  # from start until the guest agent answers
    "cloud_init": 4.0,  # from then until cloud-init has set the password; with guests
    "stop": 0.6,
    "shutdown": 4.0,
    "shutdown_timeout": 180.0,
    "reset": 0.1,
    "pause": 0.1,
    "hibernate": 2.0,
    "destroy": 0.5,
    "snapshot": 0.6,
    "rollback": 0.8,
    "backup": 1.0,  # on top of the copying
    "restore": 0.6,  # on top of the copying
    "move_disk": 0.4,  # on top of the copying
    "migrate": 2.0,  # on top of the copying
    "remove_volume": 0.2,
    "upload": 0.2,
    "download": 0.2,  # on top of the fetching, which takes what it takes
    "template": 0.3,
}
"""Every duration that can be set, with its default."""

RATES = {"clone": 700.0 * MIB, "backup": 400.0 * MIB, "restore": 400.0 * MIB, "migrate": 110.0 * MIB}
"""Bytes per second of the copying operations, with their defaults."""


@dataclass
class Settings:
    """The clock of one sandbox."""

    time_scale: float = 1.0
    durations: dict[str, float] = field(default_factory=lambda: dict(DURATIONS))
    rates: dict[str, float] = field(default_factory=lambda: dict(RATES))

    def seconds(self, operation: str) -> float:
        """Real seconds that an operation takes."""
        return self.durations[operation] * self.time_scale

    def copy_seconds(self, operation: str, size: int, limit_kib: int | None = None) -> float:
        """Real seconds to copy `size` bytes, at most `limit_kib` KiB/s (0 or None: no limit)."""
        rate = self.rates[operation]
        if limit_kib:
            rate = min(rate, limit_kib * 1024)
        return size / rate * self.time_scale
