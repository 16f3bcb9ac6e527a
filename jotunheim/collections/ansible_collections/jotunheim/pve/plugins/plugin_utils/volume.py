"""One volume of a storage by its name, also where lists do not show it."""

from __future__ import annotations

from ansible_collections.jotunheim.pve.plugins.plugin_utils.vm import Vm

from jotunheim.exceptions.repository import (
    ProxmoxPermissionError,
    ProxmoxRequestError,
    ProxmoxUnauthorizedError,
    ProxmoxUnavailableError,
)
from jotunheim.repositories.proxmox import api_path


def path(vm: Vm, volume: str) -> str:
    """Of a volume (`local:backup/vzdump-qemu-100-2026_11_22-20_36_47.vma.zst`) on the VM's node."""
    return api_path("nodes", vm.node, "storage", volume.partition(":")[0], "content", volume)


def is_there(vm: Vm, volume: str) -> bool:
    """Whether a volume exists that a list does not show: those that the token may not see are left out of lists without a word.

    Raises:
        ProxmoxPermissionError: nobody can say, for the token may not see it.
    """
    try:
        vm.client.get(path(vm, volume))
    except (ProxmoxUnavailableError, ProxmoxUnauthorizedError, ProxmoxPermissionError):
        raise
    except ProxmoxRequestError:  # each kind of storage has words of its own for one that is not there
        return False
    return True
