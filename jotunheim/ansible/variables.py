"""The variables that roles are given: one function a role, and one for what all of them share.

`roles/*/meta/argument_specs.yml` is the other side of each; a test holds the two against each other.
"""

import uuid
from collections.abc import Iterable, Mapping, Set
from typing import Any

from jotunheim.ansible.inventory import SecretReference
from jotunheim.data.backup.status import Compression
from jotunheim.data.server.spec import PREFIXES
from jotunheim.repositories.peewee.addresses import Address
from jotunheim.repositories.peewee.backups import Backup
from jotunheim.repositories.peewee.infrastructure import Node
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.repositories.peewee.orphans import Orphan
from jotunheim.repositories.peewee.servers import Server
from jotunheim.repositories.peewee.turns import SWEEP
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


def unseen(job: Job) -> dict[str, Any]:
    """That the VM must be ours beyond doubt, by its SMBIOS UUID, where a job is asked for by a sweep: nobody has looked at it."""
    return {"pve_identified": True} if job.requested_by == SWEEP else {}


def delegated_prefixes(addresses: Iterable[Address]) -> dict[str, Any]:
    """The IPv6 prefixes that are delegated to a server: of no role, for playbooks of the operator's own."""
    prefixes = [address.text for address in addresses if address.pool.kind == PREFIXES]
    return {"jotunheim_delegated_prefixes": prefixes}


def pve_clone(server: Server, node: Node) -> dict[str, Any]:
    """What the VM is cloned from: linked where the template is on the node's `vm_storage`, else copied to it."""
    variables: dict[str, Any] = {
        "pve_clone_template_vmid": server.made_from.vmid,
        "pve_clone_name": _names(server)[0],
        "pve_clone_timeout_seconds": CLONE_TIMEOUT_SECONDS,
    }
    if server.made_from.storage not in (None, node.vm_storage):
        variables |= {"pve_clone_full": True, "pve_clone_storage": node.vm_storage}
    return variables


def pve_config(
    server: Server,
    node: Node,
    addresses: list[Address],
    *,
    password: SecretReference | str | None = None,
    renew_password: bool = False,
    fields: Set[str] | None = None,
) -> dict[str, Any]:
    """CPU, memory, disk, network device, cloud-init and the like.

    Args:
        password: what cloud-init shall set.
        renew_password: set it whatever is set already; else only a clone that has none of its own gets it.
        fields: only these fields of a `ServerChange`, `onboot`, and `rate`, that of the network device; None: all that the
            server has.
    """

    def wanted(*names: str) -> bool:
        return fields is None or not fields.isdisjoint(names)

    vm_name, search_domain = _names(server)
    chosen = server.cloud_init
    settings = {
        "pve_config_name": vm_name if wanted("name", "hostname") else None,
        "pve_config_cores": server.cpu if wanted("cpu") else None,
        "pve_config_memory_bytes": server.memory_bytes if wanted("memory_bytes") else None,
        "pve_config_tags": server.tags if wanted("tags") else None,
        "pve_config_description": server.description if wanted("description") else None,
        "pve_config_agent": server.agent if wanted("agent") else None,
        "pve_config_boot_order": server.boot_order if wanted("boot_order") else None,
        "pve_config_iso": (server.iso or "") if wanted("iso") else None,
        "pve_config_networks": (
            [_network(server, node, addresses)]
            if wanted("network", "addresses")
            else [{"index": 0, "rate_bytes_per_second": _rate(server)}]
            if wanted("rate")
            else None
        ),
        "pve_config_disk": (
            {"size_bytes": server.disk_bytes} if wanted("disk_bytes") and server.disk_bytes else None
        ),
        "pve_config_onboot": not server.is_suspended if wanted("onboot") else None,
    }
    nameservers = chosen.get("nameservers") or list(
        dict.fromkeys(ip for address in addresses for ip in address.pool.nameservers)
    )
    cloudinit = {
        "user": server.account if wanted("cloud_init") else None,
        "ssh_keys": server.ssh_keys if wanted("ssh_keys") else None,
        "ip_configs": [_ip_config(addresses)] if wanted("addresses") else None,
        "nameservers": nameservers if wanted("addresses", "cloud_init") else None,
        "search_domain": (
            chosen.get("search_domain") or search_domain if wanted("name", "hostname", "cloud_init") else None
        ),
        "renew_password": True if password and renew_password else None,
    }
    settings["pve_config_cloudinit"] = _given(cloudinit) or None
    return _given(settings) | ({"pve_cloudinit_password": password} if password else {})


def pve_drift(server: Server) -> dict[str, Any]:
    """What the VM should be besides its settings: a suspended server is stopped."""
    return {"pve_drift_power": "stopped"} if server.is_suspended else {}


def pve_firewall(
    server: Server,
    addresses: list[Address],
    ruleset_rules: Iterable[Mapping[str, Any]],
    *,
    fields: Set[str] | None = None,
) -> dict[str, Any]:
    """Anti-spoofing and rules. Where nobody has said what rules a server shall have, those on the node stay.

    Without addresses the guest asks DHCP, and what it is told there is not known here: only its MAC address is held then.

    Args:
        ruleset_rules: the rules of the rulesets that it applies, which come after its own.
        fields: the fields of a change that is made; of matter is whether `anti_spoofing` is one.
    """
    protects, said = server.anti_spoofing, server.firewall
    if said is None and not protects and "anti_spoofing" not in (fields or ()):
        return {}
    filters = protects and any(address.pool.kind != PREFIXES for address in addresses)
    given: dict[str, Any] = {
        "pve_firewall_enabled": True if protects else None,
        "pve_firewall_mac_filter": protects,
        "pve_firewall_ip_filter": filters,
        "pve_firewall_addresses": [address.text for address in addresses] if filters else None,
    }
    if said is not None:
        rules = [*said["rules"], *ruleset_rules] if said["enabled"] else []
        given |= {
            "pve_firewall_enabled": server.needs_firewall,
            "pve_firewall_policy_in": said["policy_in"] if said["enabled"] else "ACCEPT",
            "pve_firewall_policy_out": said["policy_out"] if said["enabled"] else "ACCEPT",
            "pve_firewall_rules": [_given({**rule, "comment": rule["comment"] or None}) for rule in rules],
        }
    return _given(given)


def pve_device(server: Server) -> dict[str, Any]:
    """That the first network device goes through the firewall, and nothing else: the role `pve_config` of a firewall."""
    return {"pve_config_networks": [{"index": 0, "firewall": True}]} if server.needs_firewall else {}


def pve_autostart(*, onboot: bool) -> dict[str, Any]:
    """Whether the VM starts with its node, and nothing else: the role `pve_config` of a suspension."""
    return {"pve_config_onboot": onboot}


def pve_power(state: str, *, timeout_seconds: int | None = None, force: bool = False) -> dict[str, Any]:
    """The power state that the VM shall have, in the role's words."""
    variables: dict[str, Any] = {"pve_power_state": state, "pve_power_force": force}
    if timeout_seconds is not None:
        variables["pve_power_timeout_seconds"] = timeout_seconds
    return variables


def pve_restart(restart: str) -> dict[str, Any]:
    """Whether the VM may be restarted for changes that wait for it: `never` or `if_needed`."""
    return {"pve_restart_restart": restart}


def pve_password(server: Server, password: SecretReference | str, settings: Settings) -> dict[str, Any]:
    """The account and its new password."""
    return {
        "pve_password_user": server.account,
        "pve_password_renew": True,
        "pve_password_agent_timeout_seconds": settings.guest_agent_wait_seconds,
        "pve_cloudinit_password": password,
    }


def pve_snapshot(
    state: str,
    name: str,
    *,
    description: str = "",
    with_memory: bool = False,
    limit: int | None = None,
    start: bool = False,
) -> dict[str, Any]:
    """A snapshot that shall be `present`, `absent`, or `rolled_back` to."""
    return _given(
        {
            "pve_snapshot_state": state,
            "pve_snapshot_name": name,
            "pve_snapshot_description": description,
            "pve_snapshot_with_memory": with_memory,
            "pve_snapshot_limit": limit,
            "pve_snapshot_start": start,
        }
    )


def pve_backup(state: str, backup: Backup, timeout_seconds: int) -> dict[str, Any]:
    """A backup that shall be `present`, `absent`, `locked` or `unlocked`."""
    return _given(
        {
            "pve_backup_state": state,
            "pve_backup_id": str(backup.id),
            "pve_backup_storage": backup.storage,
            "pve_backup_volume": backup.volume,
            "pve_backup_vmid": backup.vmid,
            "pve_backup_mode": backup.mode,
            "pve_backup_compress": "0" if backup.compress == Compression.NONE else backup.compress,
            "pve_backup_notes": backup.notes,
            "pve_backup_timeout_seconds": timeout_seconds,
        }
    )


def pve_orphan(orphan: Orphan, despite: Iterable[str]) -> dict[str, Any]:
    """What is pruned.

    Args:
        despite: the cautions that were accepted.
    """
    return _given(
        {
            "pve_orphan_kind": orphan.kind,
            "pve_orphan_storage": orphan.storage,
            "pve_orphan_volume": orphan.volume,
            "pve_orphan_despite": list(despite),
        }
    )


def pve_restore(
    volume: str,
    restore_id: str,
    *,
    stop: bool,
    destroy_snapshots: bool,
    is_unmarked: bool,
    timeout_seconds: int,
) -> dict[str, Any]:
    """Which backup the VM is put back to; its disks go where they were.

    Args:
        is_unmarked: an earlier restore broke off, and may have left a VM without a mark.
    """
    return {
        "pve_restore_volume": volume,
        "pve_restore_id": restore_id,
        "pve_restore_stop": stop,
        "pve_restore_destroy_snapshots": destroy_snapshots,
        "pve_restore_is_unmarked": is_unmarked,
        "pve_restore_timeout_seconds": timeout_seconds,
    }


def pve_restore_new(
    server: Server, node: Node, volume: str, original_uuid: uuid.UUID, timeout_seconds: int
) -> dict[str, Any]:
    """Which backup the VM is made from; its disks go to the node's `vm_storage`."""
    return {
        "pve_restore_new_volume": volume,
        "pve_restore_new_original_uuid": str(original_uuid),
        "pve_restore_new_name": _names(server)[0],
        "pve_restore_new_storage": node.vm_storage,
        "pve_restore_new_timeout_seconds": timeout_seconds,
    }


def pve_delete(
    server: Server,
    node: Node,
    *,
    purge: bool,
    backups: bool,
    kept_backups: Iterable[str] = (),
    is_elsewhere: bool = False,
    is_unmarked: bool = False,
) -> dict[str, Any]:
    """How the VM is destroyed.

    Args:
        backups: they go as well.
        kept_backups: volumes of those that stay nevertheless.
        is_elsewhere: some are on other storages than the node's `backup_storage`; then all are looked at.
        is_unmarked: a restore broke off, and may have left a VM without a mark.
    """
    return _given(
        {
            "pve_delete_purge": purge,
            "pve_delete_backups": backups,
            "pve_delete_kept_backups": list(kept_backups),
            "pve_delete_backup_storage": None if is_elsewhere else node.backup_storage,
            "pve_delete_scratch_vmid": server.scratch_vmid,
            "pve_delete_is_unmarked": is_unmarked,
        }
    )


def pve_rebuild(
    server: Server,
    node: Node,
    *,
    scratch_vmid: int,
    rebuild_id: str,
    destroy_snapshots: bool,
    keep_scratch: bool = False,
) -> dict[str, Any]:
    """What the new system disk is made from; the server's template is the new one.

    Args:
        keep_scratch: leave it for another attempt when the rebuild is given up.
    """
    copied = server.made_from.storage not in (None, node.vm_storage)
    return _given(
        {
            "pve_rebuild_template_vmid": server.made_from.vmid,
            "pve_rebuild_scratch_vmid": scratch_vmid,
            "pve_rebuild_full": copied,
            **({"pve_rebuild_storage": node.vm_storage} if copied else {}),
            "pve_rebuild_disk_bytes": server.disk_bytes,
            "pve_rebuild_id": rebuild_id,
            "pve_rebuild_destroy_snapshots": destroy_snapshots,
            "pve_rebuild_keep_scratch": keep_scratch,
            "pve_rebuild_timeout_seconds": CLONE_TIMEOUT_SECONDS,
        }
    )


def pve_adopt(found_uuid: str, replaces: str) -> dict[str, Any]:
    """Which VM is marked.

    Args:
        found_uuid: the SMBIOS UUID that it had when it was chosen; "": none.
        replaces: the server whose mark may be replaced; "": nobody's.
    """
    return {"pve_adopt_smbios_uuid": found_uuid, "pve_adopt_replaces": replaces}


def pve_settle(upids: Iterable[str], *, stop: bool) -> dict[str, Any]:
    """Tasks that a job has begun: whether they are stopped, or only waited for."""
    return {
        "pve_settle_upids": list(upids),
        "pve_settle_stop": stop,
        "pve_settle_timeout_seconds": CLONE_TIMEOUT_SECONDS,
    }


def pve_info(settings: Settings) -> dict[str, Any]:
    """How the VM is read back."""
    return {"pve_info_agent_timeout_seconds": settings.guest_agent_wait_seconds}


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _network(server: Server, node: Node, addresses: list[Address]) -> dict[str, Any]:
    """The first network device; what nobody set comes from the pools and the node."""
    network: dict[str, Any] = {"index": 0, "bridge": node.bridge}
    vlans = {address.pool.vlan for address in addresses if address.pool.vlan}
    if vlans:
        network["vlan"] = min(vlans)
    elif server.restored_from:
        network["vlan"] = 0  # the other server's need not be this one's
    if server.mac:
        network["mac"] = server.mac
    network |= server.network
    if server.needs_firewall:
        network["firewall"] = True
    network["rate_bytes_per_second"] = _rate(server)
    return network


def _rate(server: Server) -> int:
    """What the first network device is held to, in bytes per second: the least of what there is; 0: to nothing."""
    chosen = (server.limits.get("rate_bytes_per_second"), server.network.get("rate_bytes_per_second"))
    return min(filter(None, (*chosen, server.throttle_bytes_per_second)), default=0)


def _names(server: Server) -> tuple[str, str]:
    """The VM's name and the search domain: PVE's cloud-init makes the guest's host name from these two."""
    host, _, domain = server.hostname.partition(".")
    return (host, domain) if domain and host == server.name else (server.hostname, "")


def _ip_config(addresses: list[Address]) -> dict[str, Any]:
    """The first address of each family for the first interface; DHCP for IPv4 when there is none at all."""
    config: dict[str, Any] = {"interface": 0}
    for address in addresses:
        family = address.pool.kind
        if family != PREFIXES and f"{family}_address" not in config:
            config[f"{family}_address"] = f"{address.address}/{address.pool.prefix_length}"
            if address.pool.gateway:
                config[f"{family}_gateway"] = address.pool.gateway
    if len(config) == 1:
        config["ipv4_address"] = "dhcp"
    return config
