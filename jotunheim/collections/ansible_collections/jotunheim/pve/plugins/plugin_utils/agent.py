"""The QEMU guest agent: absent, silent, or answering."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any

from ansible_collections.jotunheim.pve.plugins.plugin_utils.properties import Properties
from ansible_collections.jotunheim.pve.plugins.plugin_utils.vm import Vm

from jotunheim.exceptions.repository import GuestRefusedError, ProxmoxRequestError
from jotunheim.repositories.proxmox.tasks import pauses

# See docs: "How Proxmox VE really behaves". A silent agent may be one whose guest is still booting.
_SILENT = re.compile(r"QEMU guest agent is not running|qmp command '.*' failed - got timeout", re.IGNORECASE)
NONE = re.compile(r"No QEMU guest agent configured|VM \d+ is not running", re.IGNORECASE)
REFUSED = re.compile(r"Agent error: ?(.*)", re.IGNORECASE | re.DOTALL)


def enabled(config: Mapping[str, Any]) -> bool:
    """Whether the configuration lets Proxmox VE talk to the guest agent."""
    return Properties(str(config.get("agent", "0")), "enabled").get("enabled") == "1"


def ask(vm: Vm, command: str, timeout_seconds: float) -> dict[str, Any] | None:
    """The answer to one of the agent's read-only commands; None: there is no agent, or it was silent.

    Args:
        timeout_seconds: how long to go on asking a silent agent; 0: ask once.
    """
    deadline = time.monotonic() + timeout_seconds
    for pause in pauses():
        try:
            return dict(vm.client.get(vm.path("agent", command)))
        except ProxmoxRequestError as error:
            if NONE.search(error.message):
                return None
            if not _SILENT.search(error.message):
                raise
        if time.monotonic() + pause > deadline:
            return None
        time.sleep(pause)
    raise AssertionError("pauses() does not end")


def set_password(vm: Vm, user: str, password: str, *, hashed: bool) -> bool:
    """Set the password of an account of the guest at once; False: the agent is gone by now.

    Args:
        hashed: `password` is a crypt(3) hash.

    Raises:
        GuestRefusedError: the guest did not do it, for example because it has no such account.
    """
    try:
        vm.client.post(
            vm.path("agent", "set-user-password"),
            username=user,
            password=password,
            crypted=True if hashed else None,
        )
    except ProxmoxRequestError as error:
        refused = REFUSED.search(error.message)
        if refused:
            raise GuestRefusedError(
                f"The guest did not set the password of {user!r}: {refused[1].strip()}.",
                hint="Check that the account exists in the guest.",
            ) from None
        if NONE.search(error.message) or "agent is not running" in error.message:
            return False
        raise
    return True
