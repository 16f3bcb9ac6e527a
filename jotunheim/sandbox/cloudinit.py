"""The cloud-init data of a VM: the three documents on its drive, and what has changed since."""

import hashlib
import ipaddress
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from jotunheim.sandbox.call import Call, Routes
from jotunheim.sandbox.configvalues import parse_net
from jotunheim.sandbox.drives import cloudinit_drive, parse_drive
from jotunheim.sandbox.state import Vm
from jotunheim.sandbox.vms import shown

routes = Routes()

LISTED = ("ciuser", "cipassword", "citype", "cicustom", "searchdomain", "nameserver", "sshkeys")
"""What PVE lists as cloud-init options besides those of the network."""


def is_cloudinit_option(name: str) -> bool:
    """Whether an option only matters to the cloud-init drive: it changes at once, the drive later."""
    return name in (*LISTED, "ciupgrade") or (name.startswith("ipconfig") and name[-1].isdigit())


def options_of(config: Mapping[str, str]) -> dict[str, str]:
    """The options of a configuration that end up on the cloud-init drive."""
    shared = [n for n in config if n == "name" or (n.startswith("net") and n[3:].isdigit())]
    return {name: config[name] for name in config if name in shared or is_cloudinit_option(name)}


def regenerate(vm: Vm) -> None:
    """Write the VM's cloud-init drive."""
    vm.cloudinit = options_of(vm.config)


@routes("GET", "/nodes/{node}/qemu/{vmid}/cloudinit")
async def listed(call: Call) -> list[dict[str, Any]]:
    """The cloud-init options, with what is not yet on the drive of a running VM."""
    vm = call.vm()
    items: list[dict[str, Any]] = []
    for name in LISTED:
        current = vm.cloudinit.get(name) if vm.run else vm.config.get(name)
        wanted = vm.config.get(name)
        item: dict[str, Any] = {"key": name}
        if current is not None:
            item["value"] = shown(name, current)
        if wanted is not None and wanted != current:
            item["pending"] = shown(name, wanted)
        if current is not None and wanted is None:
            item["delete"] = 1
        if len(item) > 1:
            items.append(item)
    return items


@routes("PUT", "/nodes/{node}/qemu/{vmid}/cloudinit")
async def update(call: Call) -> None:
    """Write the cloud-init drive anew."""
    async with call.world.vm_lock(call.vmid):
        vm = call.vm()
        if cloudinit_drive(vm.config):
            regenerate(vm)


@routes("GET", "/nodes/{node}/qemu/{vmid}/cloudinit/dump")
async def dump(call: Call) -> str:
    """One of the documents as it would be generated now."""
    vm = call.vm()
    match call.params["type"]:
        case "user":
            return user_data(vm)
        case "network":
            return network_data(vm)
    return meta_data(vm)


def user_data(vm: Vm) -> str:
    """The user-data document."""
    config = vm.config
    hostname = config.get("name", f"VM{vm.vmid}")
    lines = ["#cloud-config", f"hostname: {hostname}", "manage_etc_hosts: true"]
    if "searchdomain" in config:
        lines.append(f"fqdn: {hostname}.{config['searchdomain'].split()[0]}")
    else:
        lines.append(f"fqdn: {hostname}")
    if "ciuser" in config:
        lines.append(f"user: {config['ciuser']}")
    if "cipassword" in config:
        lines.append(f"password: {config['cipassword']}")
    keys = [key.strip() for key in unquote(config.get("sshkeys", "")).split("\n") if key.strip()]
    if keys:
        lines.append("ssh_authorized_keys:")
        lines += [f"  - {key}" for key in keys]
    lines += ["chpasswd:", "  expire: False"]
    if config.get("ciuser") != "root":
        lines += ["users:", "  - default"]
    if config.get("ciupgrade", "1") != "0":
        lines.append("package_upgrade: true")
    return "\n".join(lines) + "\n"


def network_data(vm: Vm) -> str:
    """The network document in cloud-init's version 1."""
    lines = ["version: 1", "config:"]
    nets = sorted((k for k in vm.config if k.startswith("net") and k[3:].isdigit()), key=lambda k: int(k[3:]))
    for key in nets:
        number = key[3:]
        mac = parse_net(vm.config[key])["macaddr"].lower()
        address = parse_drive(vm.config.get(f"ipconfig{number}", ""))
        lines += ["    - type: physical", f"      name: eth{number}", f"      mac_address: '{mac}'"]
        subnets = _subnets(address)
        if subnets:
            lines += ["      subnets:", *subnets]
    servers = vm.config.get("nameserver", "").replace(",", " ").replace(";", " ").split()
    domains = vm.config.get("searchdomain", "").replace(",", " ").replace(";", " ").split()
    if servers or domains:
        lines.append("    - type: nameserver")
    if servers:
        lines += ["      address:", *(f"      - '{server}'" for server in servers)]
    if domains:
        lines += ["      search:", *(f"      - '{domain}'" for domain in domains)]
    return "\n".join(lines) + "\n"


def _subnets(address: Mapping[str, str]) -> list[str]:
    lines: list[str] = []
    ip, ip6 = address.get("ip"), address.get("ip6")
    if ip == "dhcp":
        lines.append("      - type: dhcp4")
    elif ip:
        interface = ipaddress.ip_interface(ip)
        lines += [
            "      - type: static",
            f"        address: '{interface.ip}'",
            f"        netmask: '{interface.netmask}'",
        ]
        if "gw" in address:
            lines.append(f"        gateway: '{address['gw']}'")
    if ip6 == "dhcp":
        lines.append("      - type: dhcp6")
    elif ip6 == "auto":
        lines.append("      - type: ipv6_slaac")
    elif ip6:
        lines += ["      - type: static6", f"        address: '{ip6}'"]
        if "gw6" in address:
            lines.append(f"        gateway: '{address['gw6']}'")
    return lines


def meta_data(vm: Vm) -> str:
    """The meta-data document."""
    return f"instance-id: {instance_id(vm)}\n"


def instance_id(vm: Vm) -> str:
    """The instance id, which changes with the other two documents."""
    text = user_data(vm) + network_data(vm)
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
