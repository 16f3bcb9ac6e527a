"""cloud-init's part in a guest: applies the data of the VM's cloud-init drive, once for each instance id.

As in reality in two stages. Before sshd: host name, host keys, the user with its ssh keys, name servers.
After sshd: the password; only then `cloud-init status --wait` returns. What goes wrong is in
/var/log/cloud-init.log and makes the status `error`; the guest comes up all the same.
"""

import os
import re
import socket
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jotunheim.sandbox.guests import accounts, files

STATUS = Path("/run/cloud-init/jotunheim-status")
HOST_NAME = Path("/etc/hostname")
LOG = Path("/var/log/cloud-init.log")
INSTANCES = Path("/var/lib/cloud/instances")
CURRENT = Path("/var/lib/cloud/instance")
KEY_SECONDS = 10
KEY_TYPES = ("ed25519", "ecdsa")


class CloudInit:
    """One boot's run."""

    def __init__(self) -> None:
        self.failed = False
        self.enabled = False
        self.first_time = False

    def begin(self, data: dict[str, Any]) -> None:
        """The stage before sshd.

        Args:
            data: `instance` (its id; empty without a cloud-init drive), `hostname`, `fqdn`, `user`, `keys`,
                `nameservers`, `search`.
        """
        instance = re.sub(r"[^A-Za-z0-9_-]", "", data["instance"])
        self.enabled = bool(instance)
        self._try(_prepare_run)
        self._say("running" if self.enabled else "disabled")
        known = CURRENT.is_symlink() and CURRENT.readlink().name == instance
        self.first_time = self.enabled and not known
        if self.first_time:
            self._try(lambda: _begin_instance(instance))
            self._try(lambda: files.put(HOST_NAME, _host_name(data["hostname"]) + "\n"))
            self._try(_delete_host_keys)
        self._try(_make_host_keys)
        self._try(_set_host_name)
        if self.enabled:
            self._try(lambda: _write_hosts(_host_name(data["fqdn"]), _host_name(data["hostname"])))
            self._try(lambda: _write_resolver(data["nameservers"], data["search"]))
        if self.first_time:
            self._try(
                lambda: accounts.add_keys(accounts.ensure(data["user"]), [_line(key) for key in data["keys"]])
            )

    def finish(self, user: str, password_hash: str | None) -> None:
        """The stage after sshd: the password, and the end."""
        if not self.enabled:
            return
        if self.first_time and password_hash:
            self._try(lambda: accounts.set_hash(user, password_hash))
        self._try(lambda: files.put(CURRENT / "boot-finished", f"{time.time()}\n"))
        self._say("error" if self.failed else "done")

    def _try(self, step: Callable[[], object]) -> None:
        """Take a step; if it fails, the others are taken all the same."""
        try:
            step()
        except (OSError, ValueError, subprocess.SubprocessError, accounts.NoAccountError) as error:
            self.failed = True
            self._log(f"WARNING: {type(error).__name__}: {error}")

    def _say(self, status: str) -> None:
        self._try(lambda: files.put(STATUS, f"{status}\n"))

    def _log(self, line: str) -> None:
        # strftime(3) would read /etc/localtime, whatever that is.
        stamp = datetime.now(tz=UTC).isoformat(" ", "seconds").removesuffix("+00:00")
        try:
            files.put(LOG, f"{stamp} - {line!r}\n", os.O_APPEND)
        except OSError:
            return  # whoever is root in the guest may have put anything in its place


def _prepare_run() -> None:
    """/run is empty after each boot."""
    for name in ("sshd", "lock", "cloud-init", "user"):
        Path("/run", name).mkdir(exist_ok=True)
    Path("/run/lock").chmod(0o1777)
    Path("/run/utmp").touch(mode=0o664)


def _begin_instance(instance: str) -> None:
    (INSTANCES / instance).mkdir(parents=True, exist_ok=True)
    CURRENT.unlink(missing_ok=True)
    CURRENT.symlink_to(INSTANCES / instance)


def _host_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.-]", "", text)[:253] or "localhost"


def _line(text: str) -> str:
    return re.sub(r"[\0-\x1f]", " ", text).strip()


def _set_host_name() -> None:
    socket.sethostname(os.fsdecode(os.fsencode(files.text(HOST_NAME).strip())[:63]) or "localhost")


def _delete_host_keys() -> None:
    for file in Path("/etc/ssh").glob("ssh_host_*_key*"):
        file.unlink()


def _make_host_keys() -> None:
    for kind in KEY_TYPES:
        file = Path(f"/etc/ssh/ssh_host_{kind}_key")
        if not file.exists():
            command = [
                "/usr/bin/ssh-keygen",
                "-q",
                "-t",
                kind,
                "-N",
                "",
                "-C",
                "root@localhost",
                "-f",
                str(file),
            ]
            subprocess.run(
                command,
                check=True,
                env={},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=KEY_SECONDS,
            )


def _write_hosts(fqdn: str, name: str) -> None:
    own = f"127.0.1.1 {fqdn} {name}\n" if fqdn != name else f"127.0.1.1 {name}\n"
    files.put(Path("/etc/hosts"), f"{own}127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n")


def _write_resolver(servers: list[str], search: list[str]) -> None:
    lines = [f"nameserver {_line(server)}\n" for server in servers]
    lines += [f"search {' '.join(map(_line, search))}\n"] if search else []
    file = Path("/etc/resolv.conf")
    if file.is_symlink():
        file.unlink()
    files.put(file, "".join(lines))
