"""A worker's process."""

import json
import os

from jotunheim import drivers
from jotunheim.ansible import runner
from jotunheim.bootstrap.store import use_store
from jotunheim.jobs import backup as backup_jobs
from jotunheim.jobs import node as node_jobs
from jotunheim.jobs import server as server_jobs
from jotunheim.jobs.queue import Queue
from jotunheim.jobs.worker import Worker
from jotunheim.settings import Settings

KINDS = {kind.type: kind for kind in (*server_jobs.KINDS, *backup_jobs.KINDS, *node_jobs.KINDS)}


def build(settings: Settings) -> Worker:
    """A worker process; the database is bound as a side effect.

    Raises:
        SecretError: there is no usable secret key, or it is not the one of this database.
        StoreUnavailableError: the database cannot be reached.
    """
    keyring = use_store(settings)
    settings.runs_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    if settings.warm_ansible:
        runner.keep_warm(drivers.needed(settings.database)).start()
    return Worker(settings, keyring, Queue(settings.queue), KINDS, run_environment(settings))


def run_environment(settings: Settings) -> dict[str, str]:
    """What a run's plugins must know to find the store.

    ansible-runner writes a run's environment to a file, and keys and database passwords must not stand
    there. So the settings travel as a file in memory that ends with this process.
    """
    values = {
        "state_dir": str(settings.state_dir),
        "database_url": settings.database,
        "secret_key_file": str(settings.key_file),
    }
    if settings.secret_key is not None:
        values["secret_key"] = settings.secret_key.get_secret_value()
    descriptor = os.memfd_create("jotunheim-settings")
    os.write(
        descriptor, "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items()).encode()
    )
    return {"JOTUNHEIM_CONFIG": f"/proc/{os.getpid()}/fd/{descriptor}"}
