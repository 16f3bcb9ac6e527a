"""The network devices of a guest as its VM's configuration makes them, in the guest agent's words."""

import ipaddress
from collections.abc import Mapping
from typing import Any

from jotunheim.sandbox.configvalues import parse_net
from jotunheim.sandbox.drives import parse_drive

LOOPBACK = {
    "hardware-address": "00:00:00:00:00:00",
    "ip-addresses": [
        {"ip-address": "127.0.0.1", "ip-address-type": "ipv4", "prefix": 8},
        {"ip-address": "::1", "ip-address-type": "ipv6", "prefix": 128},
    ],
    "name": "lo",
}


def no_traffic() -> dict[str, int]:
    """The counters of a device that nothing has passed."""
    names = [f"{way}-{what}" for way in ("rx", "tx") for what in ("bytes", "dropped", "errs", "packets")]
    return dict.fromkeys(names, 0)


def devices(config: Mapping[str, str], reached: str | None = None) -> list[dict[str, Any]]:
    """One device for each `netN`, with the addresses that cloud-init would set.

    Args:
        config: the configuration at the VM's start.
        reached: an address that the first device has besides, for a guest whose sshd is reached there.
    """
    found = []
    for key in sorted(
        (k for k in config if k.startswith("net") and k[3:].isdigit()), key=lambda k: int(k[3:])
    ):
        mac = parse_net(config[key])["macaddr"].lower()
        addresses = _addresses(parse_drive(config.get(f"ipconfig{key[3:]}", "")), mac)
        if reached and reached not in (address["ip-address"] for address in addresses):
            addresses.insert(-1, {"ip-address": reached, "ip-address-type": "ipv4", "prefix": 8})
        reached = None
        found.append({"hardware-address": mac, "ip-addresses": addresses, "name": f"eth{key[3:]}"})
    return found


def gateways(config: Mapping[str, str], name: str) -> list[str]:
    """The gateways that cloud-init would set on a device."""
    address = parse_drive(config.get(f"ipconfig{name.removeprefix('eth')}", ""))
    return [address[key] for key in ("gw", "gw6") if key in address]


def _addresses(config: Mapping[str, str], mac: str) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = []
    for key, kind in (("ip", "ipv4"), ("ip6", "ipv6")):
        if "/" in config.get(key, ""):
            interface = ipaddress.ip_interface(config[key])
            listed.append(
                {
                    "ip-address": str(interface.ip),
                    "ip-address-type": kind,
                    "prefix": interface.network.prefixlen,
                }
            )
    octets = [int(part, 16) for part in mac.split(":")]
    octets[0] ^= 2
    host = bytes([*octets[:3], 0xFF, 0xFE, *octets[3:]])
    link_local = ipaddress.IPv6Address(b"\xfe\x80" + bytes(6) + host)
    listed.append({"ip-address": str(link_local), "ip-address-type": "ipv6", "prefix": 64})
    return listed
