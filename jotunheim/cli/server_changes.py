"""`jotunheim server configure`: changing what a server is, and saying when each change takes effect."""

from collections.abc import Callable
from enum import StrEnum
from typing import Annotated

import typer

from jotunheim.cli.asking import Manner, conclude, takes_manner
from jotunheim.cli.options import (
    KeyNames,
    SshKeys,
    either,
    given,
    or_null,
    parse_duration,
    parse_limit,
    parse_pairs,
    parse_size,
)
from jotunheim.cli.output import Document, print_json, print_lines
from jotunheim.cli.usage import parse_policy

_OPTIONS = {
    "name": "--name",
    "hostname": "--hostname",
    "cpu": "--cpu",
    "memory_bytes": "--memory",
    "disk_bytes": "--disk",
    "addresses.ipv4": "--ipv4",
    "addresses.ipv6": "--ipv6",
    "addresses.ipv6_prefixes": "--ipv6-prefixes",
    "addresses.explicit": "--address",
    "ssh_keys": "--ssh-key",
    "ssh_key_ids": "--key",
    "tags": "--tag",
    "description": "--description",
    "network.model": "--network-model",
    "network.bridge": "--bridge",
    "network.vlan": "--vlan",
    "network.mtu": "--mtu",
    "network.rate_bytes_per_second": "--rate",
    "network.firewall": "--firewall",
    "cloud_init.user": "--user",
    "cloud_init.nameservers": "--nameserver",
    "cloud_init.search_domain": "--search-domain",
    "boot_order": "--boot-order",
    "agent": "--agent",
    "anti_spoofing": "--anti-spoofing",
    "labels": "--label",
    "external_id": "--external-id",
    "limits.snapshots": "--snapshot-limit",
    "limits.backups": "--backup-limit",
    "limits.traffic_bytes": "--traffic-limit",
    "limits.traffic_policy": "--traffic-policy",
    "limits.rate_bytes_per_second": "--rate-limit",
    "expires_in_seconds": "--expires-in",
    "protected": "--protected",
    "restart": "--restart",
}
EFFECTS = {
    "applied": "applied",
    "pending": "pending: Proxmox VE holds it back until a restart",
    "needs_restart": "needs a restart: the VM has it, the guest sees it only then",
}


class Restart(StrEnum):
    """Whether a running server may be restarted so that a change takes effect."""

    NEVER = "never"
    IF_NEEDED = "if_needed"


@takes_manner
def configure(
    server: Annotated[str, typer.Argument(metavar="ID|NAME")],
    name: Annotated[str | None, typer.Option(help="Name, unique among its owner's servers.")] = None,
    hostname: Annotated[str | None, typer.Option(help="Host name inside.")] = None,
    cpu: Annotated[int | None, typer.Option(metavar="CORES")] = None,
    memory: Annotated[
        int | None, typer.Option(parser=parse_size, metavar="SIZE", help="For example 2GiB.")
    ] = None,
    disk: Annotated[
        int | None, typer.Option(parser=parse_size, metavar="SIZE", help="Of the system disk; it only grows.")
    ] = None,
    ipv4: Annotated[
        int | None, typer.Option(metavar="N", help="IPv4 addresses; the last ones are given back first.")
    ] = None,
    ipv6: Annotated[int | None, typer.Option(metavar="N", help="IPv6 addresses, likewise.")] = None,
    ipv6_prefixes: Annotated[
        int | None, typer.Option(metavar="N", help="Delegated IPv6 prefixes, likewise.")
    ] = None,
    address: Annotated[
        list[str] | None,
        typer.Option(metavar="ADDRESS", help="Take or keep this address or prefix, among those; repeatable."),
    ] = None,
    ssh_key: SshKeys = None,
    key: KeyNames = None,
    no_ssh_keys: Annotated[bool, typer.Option("--no-ssh-keys", help="No keys any more.")] = False,
    tag: Annotated[
        list[str] | None, typer.Option(help="All tags in Proxmox VE; others go. Repeatable.")
    ] = None,
    no_tags: Annotated[bool, typer.Option("--no-tags", help="No tags any more.")] = False,
    description: Annotated[str | None, typer.Option(metavar="TEXT", help="The VM's notes.")] = None,
    network_model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="virtio, e1000, e1000e, rtl8139 or vmxnet3.")
    ] = None,
    bridge: Annotated[str | None, typer.Option(help="Network bridge.")] = None,
    vlan: Annotated[int | None, typer.Option(metavar="TAG", help="VLAN; 0: untagged.")] = None,
    mtu: Annotated[
        int | None, typer.Option(metavar="BYTES", help="1: as the bridge has; 0: the default.")
    ] = None,
    rate: Annotated[
        int | None,
        typer.Option(
            parser=parse_size, metavar="SIZE", help="Network rate a second, each direction; 0: as the limit."
        ),
    ] = None,
    firewall: Annotated[
        bool | None, typer.Option("--firewall/--no-firewall", help="Proxmox VE's firewall.")
    ] = None,
    user: Annotated[str | None, typer.Option(help="Account that cloud-init gives keys and password.")] = None,
    nameserver: Annotated[
        list[str] | None, typer.Option(metavar="ADDRESS", help="All nameservers; repeatable.")
    ] = None,
    no_nameservers: Annotated[
        bool, typer.Option("--no-nameservers", help="Nameservers of the address pools again.")
    ] = False,
    search_domain: Annotated[
        str | None, typer.Option(metavar="DOMAIN", help="Empty: as the host name says.")
    ] = None,
    boot_order: Annotated[
        str | None, typer.Option(metavar="DEVICE[,DEVICE]", help="For example scsi0,net0.")
    ] = None,
    agent: Annotated[
        bool | None, typer.Option("--agent/--no-agent", help="Whether Proxmox VE talks to the guest agent.")
    ] = None,
    anti_spoofing: Annotated[
        bool | None,
        typer.Option(
            "--anti-spoofing/--no-anti-spoofing",
            help="Whether it can only send from its own MAC and IP addresses.",
        ),
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="All labels; others go. Repeatable.")
    ] = None,
    no_labels: Annotated[bool, typer.Option("--no-labels", help="No labels any more.")] = False,
    external_id: Annotated[str | None, typer.Option(metavar="ID", help="Your own id for it.")] = None,
    no_external_id: Annotated[bool, typer.Option("--no-external-id", help="No id of yours.")] = False,
    snapshot_limit: Annotated[
        str | None, typer.Option(metavar="N|unlimited", help="Snapshots it may have.")
    ] = None,
    backup_limit: Annotated[
        str | None, typer.Option(metavar="N|unlimited", help="Backups it may have.")
    ] = None,
    traffic_limit: Annotated[
        str | None, typer.Option(metavar="SIZE|unlimited", help="Traffic it may cause in a month.")
    ] = None,
    traffic_policy: Annotated[
        str | None,
        typer.Option(
            metavar="PERCENT=ACTION,…|default", help="What follows: 80=notify,100=throttle:1MiB,120=suspend."
        ),
    ] = None,
    rate_limit: Annotated[
        str | None, typer.Option(metavar="SIZE|unlimited", help="Network rate a second that --rate may set.")
    ] = None,
    expires_in: Annotated[
        int | None,
        typer.Option(
            parser=parse_duration, metavar="DURATION", help="Delete it 90s, 30m, 2h, 7d or 2w from now."
        ),
    ] = None,
    no_expiry: Annotated[bool, typer.Option("--no-expiry", help="Never delete it by itself.")] = False,
    protected: Annotated[
        bool | None, typer.Option("--protected/--unprotected", help="Whether deleting it is refused.")
    ] = None,
    restart: Annotated[
        Restart | None, typer.Option(help="Whether it may be restarted for the change; by default never.")
    ] = None,
    *,
    manner: Manner,
) -> None:
    """Change a server. What is not named stays; without any option, all that is recorded is asserted."""
    from jotunheim.cli import keys, references
    from jotunheim.cli.client import Api

    without_keys = either([*(ssh_key or ()), *(key or ())], "--ssh-key", no_ssh_keys, "--no-ssh-keys") == []
    labels = either(label, "--label", no_labels, "--no-labels")
    network = {
        "model": network_model,
        "bridge": bridge,
        "vlan": vlan,
        "mtu": mtu,
        "rate_bytes_per_second": rate,
        "firewall": firewall,
    }
    cloud_init = {
        "user": user,
        "nameservers": either(nameserver, "--nameserver", no_nameservers, "--no-nameservers"),
        "search_domain": search_domain,
    }
    change = given(
        {
            "name": name,
            "hostname": hostname,
            "cpu": cpu,
            "memory_bytes": memory,
            "disk_bytes": disk,
            "tags": either(tag, "--tag", no_tags, "--no-tags"),
            "description": description,
            "network": given(network) or None,
            "cloud_init": given(cloud_init) or None,
            "boot_order": None if boot_order is None else boot_order.split(","),
            "agent": agent,
            "anti_spoofing": anti_spoofing,
            "labels": None if labels is None else parse_pairs("--label", labels),
            "limits": {
                **_limits(snapshot_limit, backup_limit, traffic_limit, rate_limit),
                **({} if traffic_policy is None else {"traffic_policy": parse_policy(traffic_policy)}),
            }
            or None,
            "protected": protected,
            "addresses": given(
                {"ipv4": ipv4, "ipv6": ipv6, "ipv6_prefixes": ipv6_prefixes, "explicit": address or None}
            )
            or None,
            "restart": restart.value if restart else None,
        }
    )
    change |= or_null("external_id", external_id, "--external-id", no_external_id, "--no-external-id")
    change |= or_null("expires_in_seconds", expires_in, "--expires-in", no_expiry, "--no-expiry")
    with Api.from_environment() as api:
        found = references.server(api, server)
        change |= (
            {"ssh_keys": []} if without_keys else given(keys.chosen(api, ssh_key, key, found.get("owner_id")))
        )
        answer = api.patch(f"/servers/{found['id']}", change, _OPTIONS, query=manner.query)
        if answer["job"] is not None:
            conclude(
                api,
                answer,
                f"Configuring {found['name']}",
                manner,
                show=lambda ended: _show(ended, change),
            )
        elif manner.as_json:
            print_json(answer)
        else:
            print_lines(
                [
                    f"Nothing of the VM would change: only records of {found['name']} would."
                    if manner.check
                    else f"Recorded for {found['name']}: {', '.join(sorted(change))}. Its VM need not change."
                ]
            )


def _limits(
    snapshots: str | None, backups: str | None, traffic: str | None, rate: str | None
) -> dict[str, int | None]:
    wanted: dict[str, tuple[str, str | None, Callable[[str], int]]] = {
        "snapshots": ("--snapshot-limit", snapshots, int),
        "backups": ("--backup-limit", backups, int),
        "traffic_bytes": ("--traffic-limit", traffic, parse_size),
        "rate_bytes_per_second": ("--rate-limit", rate, parse_size),
    }
    return {
        field: parse_limit(option, text, parse)
        for field, (option, text, parse) in wanted.items()
        if text is not None
    }


def _show(answer: Document, change: Document) -> None:
    """Say of each field when the change takes effect."""
    result = answer["job"]["result"] or {}
    fields = {field: "applied" for field in change if field != "restart"} | result.get("fields", {})
    lines = [f"  {field}: {EFFECTS.get(effect, effect)}" for field, effect in sorted(fields.items())]
    if result.get("restarted"):
        lines.append(
            "The server would be restarted." if answer["job"]["check"] else "The server was restarted."
        )
    elif not answer["job"]["check"] and set(fields.values()) - {"applied"}:
        lines.append(f"Restart it: jotunheim server power {answer['server']['name']} reboot")
    print_lines(["", "When each field takes effect:", *lines])
