"""The variables that roles are given: one function a role, and one for what all of them share.

`roles/*/meta/argument_specs.yml` is the other side of each; a test holds the two against each other.
"""

from typing import Any

from jotunheim.ansible.inventory import SecretReference
from jotunheim.repositories.peewee.addresses import Address
from jotunheim.repositories.peewee.infrastructure import Node
from jotunheim.repositories.peewee.servers import Server
from jotunheim.settings import Settings

CLONE_TIMEOUT_SECONDS = 1800


def connection(server: Server, node: Node, settings: Settings) -> dict[str, Any]:
    """Which VM on which node, and how to reach the node's API: what every role needs."""
    return {
        "pve_api_host": node.host,
        "pve_api_port": node.port,
        "pve_api_token_id": node.token_id,
        "pve_api_token_secret": SecretReference(node.token_reference),
        "pve_api_ca_pem": node.tls_ca_pem,
        "pve_api_fingerprint": node.tls_fingerprint,
        "pve_api_connect_timeout_seconds": settings.pve_connect_timeout_seconds,
        "pve_api_read_timeout_seconds": settings.pve_read_timeout_seconds,
        "pve_node": node.name,
        "pve_vmid": server.vmid,
        "pve_uuid": str(server.id),
    }


def pve_clone(server: Server, node: Node) -> dict[str, Any]:
    """What the VM is cloned from: linked where the template is on the node's `vm_storage`, else copied to it."""
    variables: dict[str, Any] = {
        "pve_clone_template_vmid": server.template.vmid,
        "pve_clone_name": _names(server)[0],
        "pve_clone_timeout_seconds": CLONE_TIMEOUT_SECONDS,
    }
    if server.template.storage not in (None, node.vm_storage):
        variables |= {"pve_clone_full": True, "pve_clone_storage": node.vm_storage}
    return variables


def pve_config(server: Server, node: Node, addresses: list[Address], *, has_password: bool) -> dict[str, Any]:
    """CPU, memory, disk, network device and cloud-init."""
    vm_name, search_domain = _names(server)
    cloudinit: dict[str, Any] = {
        "ssh_keys": server.ssh_keys,
        "search_domain": search_domain,
        "ip_configs": [_ip_config(addresses)],
        "nameservers": list(dict.fromkeys(ip for address in addresses for ip in address.pool.nameservers)),
    }
    if server.template.default_user:
        cloudinit["user"] = server.template.default_user
    network: dict[str, Any] = {"index": 0, "bridge": node.bridge}
    vlans = {address.pool.vlan for address in addresses if address.pool.vlan}
    if vlans:
        network["vlan"] = min(vlans)
    rate = server.limits.get("rate_bytes_per_second")
    if rate:
        network["rate_bytes_per_second"] = rate
    variables: dict[str, Any] = {
        "pve_config_name": vm_name,
        "pve_config_cores": server.cpu,
        "pve_config_memory_bytes": server.memory_bytes,
        "pve_config_tags": server.tags,
        "pve_config_onboot": True,
        "pve_config_agent": True,
        "pve_config_networks": [network],
        "pve_config_cloudinit": cloudinit,
    }
    if server.disk_bytes is not None:
        variables["pve_config_disk"] = {"size_bytes": server.disk_bytes}
    if has_password:
        variables["pve_cloudinit_password"] = SecretReference(server.password_reference)
    return variables


def pve_power(server: Server) -> dict[str, Any]:
    """Whether the VM shall run."""
    return {"pve_power_state": "started" if server.start_after_build else "stopped"}


def pve_info(settings: Settings) -> dict[str, Any]:
    """How the VM is read back."""
    return {"pve_info_agent_timeout_seconds": settings.guest_agent_wait_seconds}


def _names(server: Server) -> tuple[str, str]:
    """The VM's name and the search domain: PVE's cloud-init makes the guest's host name from these two."""
    host, _, domain = server.hostname.partition(".")
    return (host, domain) if domain and host == server.name else (server.hostname, "")


def _ip_config(addresses: list[Address]) -> dict[str, Any]:
    """The first address of each family for the first interface; DHCP for IPv4 when there is none at all."""
    config: dict[str, Any] = {"interface": 0}
    for address in addresses:
        family = address.pool.family
        if f"{family}_address" not in config:
            config[f"{family}_address"] = f"{address.address}/{address.pool.prefix_length}"
            if address.pool.gateway:
                config[f"{family}_gateway"] = address.pool.gateway
    if len(config) == 1:
        config["ipv4_address"] = "dhcp"
    return config
