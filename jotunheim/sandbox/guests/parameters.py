"""What a guest is told at its start: the contents of its VM's cloud-init drive, in the guest's words."""

import ipaddress
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from jotunheim.sandbox import drives, interfaces
from jotunheim.sandbox.cloudinit import instance_id
from jotunheim.sandbox.crypt import is_hash, sha256_crypt
from jotunheim.sandbox.drives import parse_drive
from jotunheim.sandbox.state import Vm, Volume
from jotunheim.sandbox.volumes import Volumes

DEFAULT_USER = "debian"
"""Of the template, for a drive that names none."""
LOOPBACK = ipaddress.ip_network("127.0.0.0/8")


@dataclass(frozen=True)
class CloudInitData:
    """The drive's contents. An empty instance id: there is no drive."""

    instance: str
    hostname: str
    fqdn: str
    user: str
    keys: list[str]
    nameservers: list[str]
    search: list[str]


def cloud_init_data(vm: Vm) -> CloudInitData:
    """What cloud-init finds on a VM's drive."""
    drive = vm.cloudinit if drives.cloudinit_drive(vm.config) else {}
    hostname, search = drive.get("name", f"VM{vm.vmid}"), _words(drive.get("searchdomain", ""))
    return CloudInitData(
        instance=instance_id(Vm(vm.vmid, vm.node, drive)) if drive else "",
        hostname=hostname,
        fqdn=f"{hostname}.{search[0]}" if search else hostname,
        user=drive.get("ciuser", DEFAULT_USER),
        keys=[key.strip() for key in unquote(drive.get("sshkeys", "")).split("\n") if key.strip()],
        nameservers=_words(drive.get("nameserver", "")),
        search=search,
    )


def password_hash(vm: Vm) -> str | None:
    """The password on the drive, as crypt(3) hashes it. PVE writes it there hashed, the control endpoint may not."""
    password = vm.cloudinit.get("cipassword")
    return password if password is None or is_hash(password) else sha256_crypt(password)


def _words(text: str) -> list[str]:
    return text.replace(",", " ").replace(";", " ").split()


def loopback_address(vm: Vm) -> str | None:
    """The first address of 127.0.0.0/8 that a VM's guest gives to an interface."""
    drive = vm.cloudinit if drives.cloudinit_drive(vm.config) else {}
    for key in sorted(name for name in drive if name.startswith("ipconfig")):
        try:
            address = ipaddress.ip_interface(parse_drive(drive[key]).get("ip", "")).ip
        except ValueError:
            continue  # dhcp, or IPv6 only
        if address in LOOPBACK:
            return str(address)
    return None


def network_devices(vm: Vm, reached: str | None) -> list[dict[str, Any]]:
    """The guest's network devices; addresses only with a cloud-init drive, which is where a guest has them from."""
    with_drive = drives.cloudinit_drive(vm.config) is not None
    config = {
        name: value for name, value in vm.config.items() if with_drive or not name.startswith("ipconfig")
    }
    return [
        device | {"gateways": interfaces.gateways(config, device["name"])}
        for device in interfaces.devices(config, reached)
    ]


def boot_volume(volumes: Volumes, vm: Vm, empty: int) -> Volume | None:
    """The disk from which a VM boots: the first in its boot order that has more on it than `empty` bytes."""
    config = vm.run.config if vm.run else vm.config
    disks = drives.disks_of(config)
    order = drives.boot_devices(config["boot"]) if "boot" in config else disks
    for key in order:
        volume = volumes.find(vm.node, parse_drive(config[key])["file"]) if key in disks else None
        if volume and (volume.parent or volume.used > empty):
            return volume
    return None
