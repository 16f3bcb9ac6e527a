"""A recorded run as an archive that works by hand: `ansible-playbook` in the unpacked folder does it again.

The archive holds the inventory as it was; playbook, roles and collection are those of this installation, and it says
whether they are the ones of the run. The same run gives the same bytes. Nothing in it is secret, and no path leads out
of it.
"""

import gzip
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from jotunheim.ansible import by_hand, content, inventory
from jotunheim.data.job import JobStatus
from jotunheim.repositories.peewee.job_runs import JobRun
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.repositories.peewee.secret_names import variable_of

COLLECTION = "collections/ansible_collections/jotunheim/pve"
INVENTORY = "inventory.yml"
PROGRAM = "run"
# A job's own secrets stand below its server's name; all of them are erased when it has ended well.
_OWN_SECRETS = "server/"
_FOLDER_MODE, _FILE_MODE, _PROGRAM_MODE = 0o755, 0o644, 0o755


@dataclass(frozen=True)
class _Secret:
    """A secret that the inventory refers to.

    Attributes:
        variable: the environment variable that can give it.
        forgotten: the store holds it no longer, and the run can be repeated without it.
    """

    name: str
    variable: str
    forgotten: bool


def name_of(job: Job) -> str:
    """The folder that a job's bundle unpacks to."""
    return f"jotunheim-job-{job.id}"


def pack(job: Job, run: JobRun) -> bytes:
    """The bundle of one run of a job: a tar.gz."""
    used = content.files(run.playbook)
    secrets = [
        _Secret(
            name,
            variable_of(name),
            forgotten=job.status == JobStatus.SUCCEEDED and name.startswith(_OWN_SECRETS),
        )
        for name in inventory.references(run.inventory)
    ]
    described = _described(job, run, used, secrets)
    written = {
        "README.md": _readme(described),
        "ansible.cfg": _configuration(secrets),
        INVENTORY: run.inventory,
        "requirements.txt": "".join(f"{name}=={pin}\n" for name, pin in content.versions().items()),
        "requirements.yml": _collection_pin(used),
        PROGRAM: Path(by_hand.__file__).read_text(),
        by_hand.DESCRIPTION: json.dumps(described, indent=2) + "\n",
    }
    return _archive(
        name_of(job), used | {name: text.encode() for name, text in written.items()}, run.started_at
    )


def _described(
    job: Job, run: JobRun, used: Mapping[str, bytes], secrets: Sequence[_Secret]
) -> dict[str, Any]:
    """What the run was, for programs; the folder's own program reads it too."""
    command = ["ansible-playbook", "-i", INVENTORY, f"playbooks/{run.playbook}", "--diff"]
    return {
        "job_id": str(job.id),
        "type": job.type,
        "request_id": job.request_id,
        "attempt": run.attempt,
        "check": run.check_only,
        "started_at": run.started_at.isoformat(),
        "command": [*command, "--check"] if run.check_only else command,
        "secrets": [
            {"name": secret.name, "variable": secret.variable, "forgotten": secret.forgotten}
            for secret in secrets
        ],
        "versions": run.versions,
        "content_sha256": run.content_sha256,
        "bundled": {"versions": content.versions(), "content_sha256": content.digest(used)},
    }


def _configuration(secrets: Sequence[_Secret]) -> str:
    forgotten = ",".join(secret.name for secret in secrets if secret.forgotten)
    return (
        "[defaults]\n"
        f"inventory = {INVENTORY}\n"
        "roles_path = roles\n"
        "collections_path = collections\n"
        "\n"
        "[jotunheim_pve]\n"
        "# Secrets that were erased when the job had handed them over; without them nothing of theirs is set.\n"
        f"forgotten_secrets = {forgotten}\n"
    )


def _collection_pin(used: Mapping[str, bytes]) -> str:
    galaxy = yaml.safe_load(used[f"{COLLECTION}/galaxy.yml"])
    pin = {
        "name": COLLECTION,
        "type": "dir",
        "version": galaxy["version"],
    }
    head = "---\n# The copy in this folder is used as it is; nothing has to be installed.\n"
    return head + yaml.safe_dump({"collections": [pin]}, sort_keys=False)


def _readme(described: Mapping[str, Any]) -> str:
    bundled = described["bundled"]
    same = bundled["content_sha256"] == described["content_sha256"]
    origin = (
        "Playbook, roles and collection are those that the run used."
        if same
        else f"The run used playbook, roles and collection of Jotunheim {described['versions']['jotunheim']} (SHA-256 "
        f"`{described['content_sha256']}`); those in this folder are of Jotunheim {bundled['versions']['jotunheim']}, and "
        "differ."
    )
    secrets = "".join(
        f"| `{secret['name']}` | `{secret['variable']}` | "
        f"{'erased when the job had ended; give it only to set it again' if secret['forgotten'] else 'needed'} |\n"
        for secret in described["secrets"]
    )
    preview = (
        "\nThe job was a preview, so the run is one too: it changes nothing.\n" if described["check"] else ""
    )
    return _README.format(
        **{name: described[name] for name in ("job_id", "type", "request_id", "attempt", "started_at")},
        command=" ".join(described["command"]),
        version=bundled["versions"]["jotunheim"],
        origin=origin,
        preview=preview,
        secrets=secrets,
    )


def _archive(folder: str, contents: Mapping[str, bytes], at: datetime) -> bytes:
    """A tar.gz of one folder that depends on nothing but the arguments."""
    folders = {parent.as_posix() for name in contents for parent in Path(folder, name).parents} - {"."}
    entries: dict[str, bytes | None] = dict.fromkeys(folders)
    entries |= {f"{folder}/{name}": data for name, data in contents.items()}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in sorted(entries):
            data = entries[name]
            info = tarfile.TarInfo(name)
            info.mtime = int(at.timestamp())
            if data is None:
                info.type, info.mode = tarfile.DIRTYPE, _FOLDER_MODE
            else:
                info.size = len(data)
                info.mode = _PROGRAM_MODE if name == f"{folder}/{PROGRAM}" else _FILE_MODE
            archive.addfile(info, io.BytesIO(data or b""))
    return gzip.compress(packed.getvalue(), mtime=0)


_README = """\
# A run of job {job_id}

Type `{type}`, attempt {attempt}, asked for by request `{request_id}`, started at {started_at}.
{preview}
    {command}

| here | is |
|---|---|
| `inventory.yml` | the server and all variables, as the run used them; secrets by name |
| `playbooks/`, `roles/`, `collections/` | the playbook, its roles, the collection `jotunheim.pve` |
| `ansible.cfg` | where they are |
| `requirements.txt`, `requirements.yml` | the versions that belong to them |
| `run.json`, `run` | command line, secrets and versions, for programs; and a program that starts it |

{origin}

## What it needs

ansible-core and the Python package `jotunheim` of this version ({version}), which the collection's plugins import, in
one environment: `pip install -r requirements.txt`; for a store on PostgreSQL also `jotunheim[postgres]`. Its
`ansible-playbook` must be the first in `PATH`.

## Running it

Enter this folder: `ansible.cfg` has to be in the current one, in a folder that not everybody may write to.

Where the service's store can be reached, its settings are enough; the secrets are read from there
(`JOTUNHEIM_CONFIG`, or `JOTUNHEIM_STATE_DIR`, or what else the service is told):

    JOTUNHEIM_STATE_DIR=… {command}

Elsewhere they come from environment variables, or are asked for, without echo:

    ./run --ask-secrets

| secret | variable | |
|---|---|---|
{secrets}
An environment variable wins over the store. Never write a secret on a command line: other users can read those.
`./run` passes further options on, such as `--check`.

## What it does

It acts on the VM, as the run did; the service's records are not changed by it. When the run went well, another one
changes nothing, unless it is a command: a reboot, a reset, the return to a snapshot, a new password.
"""
