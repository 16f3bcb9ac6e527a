"""What the hypervisor says about a VM: asked over the Proxmox VE API, not through the service."""

import ssl
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote

import httpx

from jotunheim.cli.errors import CommandError, ExitCode
from jotunheim.cli.output import Columns, Document, size

MIB = 2**20

COLUMNS: Columns = {
    "vmid": lambda vm: vm["status"]["vmid"],
    "name": lambda vm: vm["status"]["name"],
    "status": lambda vm: vm["status"]["status"],
    "cores": lambda vm: vm["config"].get("cores"),
    "memory": lambda vm: size(int(vm["config"]["memory"]) * MIB),
    "cloud-init": lambda vm: vm["config"].get("ipconfig0"),
}
RECORD: Columns = {
    **COLUMNS,
    "disk": lambda vm: vm["config"].get("scsi0"),
    "network": lambda vm: vm["config"].get("net0"),
    "nameserver": lambda vm: vm["config"].get("nameserver"),
    "user": lambda vm: vm["config"].get("ciuser"),
    "ssh keys": lambda vm: unquote(vm["config"].get("sshkeys", "")).strip(),
    "tags": lambda vm: vm["config"].get("tags"),
    "uuid": lambda vm: vm["config"].get("smbios1"),
}


class Hypervisor:
    """The Proxmox VE API as an operator with a token sees it.

    Args:
        ready: what `jotunheim sandbox` printed about itself.
    """

    def __init__(self, ready: dict[str, Any]) -> None:
        self._http = httpx.Client(
            base_url=f"{ready['url']}/api2/json",
            headers={"Authorization": f"PVEAPIToken={ready['token_id']}={ready['token_secret']}"},
            verify=ssl.create_default_context(cafile=ready["ca_pem_file"]),
            trust_env=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def vm(self, node: str, vmid: int) -> Document:
        """Status and configuration of a VM; CommandError when it does not say."""
        path = f"/nodes/{node}/qemu/{vmid}"
        return {"status": self._get(f"{path}/status/current"), "config": self._get(f"{path}/config")}

    def _get(self, path: str) -> Document:
        try:
            data: Document = self._http.get(path).raise_for_status().json()["data"]
        except httpx.HTTPError as error:
            raise CommandError(
                f"The hypervisor did not answer GET {path}: {error}",
                code="node_unavailable",
                exit_code=ExitCode.UNREACHABLE,
            ) from None
        return data
