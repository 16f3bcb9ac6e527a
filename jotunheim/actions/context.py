"""What actions need of the running worker."""

import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from jotunheim.ansible import runner
from jotunheim.ansible.runner import Run, RunResult
from jotunheim.repositories.peewee.infrastructure import Node
from jotunheim.repositories.peewee.secrets import Keyring, Secret
from jotunheim.repositories.proxmox.facts import Counters
from jotunheim.settings import Settings


@dataclass(frozen=True)
class ActionContext:
    """The worker's settings and keys, and the way to stop a run.

    Attributes:
        run_environment: environment variables for runs, so that their plugins find the store.
        stop: set when the run must end: the lease is lost, or the worker has to go.
        cancel: set when the run must end, because somebody wants the job cancelled.
        run: carries out a run of Ansible: `runner.run`, or together with those of other jobs.
        count: what the process of a server's VM has counted, and when it was asked for that: by server id and node.
    """

    settings: Settings
    keyring: Keyring
    run_environment: Mapping[str, str]
    run: Callable[[Run], RunResult] = runner.run
    stop: threading.Event = field(default_factory=threading.Event)
    cancel: threading.Event = field(default_factory=threading.Event)
    count: Callable[[uuid.UUID, Node, Counters, datetime], None] = lambda *_: None

    @property
    def interrupted(self) -> bool:
        """Whether the run must end."""
        return self.stop.is_set() or self.cancel.is_set()

    def secrets_of(self, node: Node, *names: str) -> list[str]:
        """Values that no event may show: the node's token and those of these names that exist."""
        return [
            Secret.read(self.keyring, name) for name in (node.token_reference, *names) if Secret.exists(name)
        ]
