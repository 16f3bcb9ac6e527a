"""A guest's network devices: making them as the VM's configuration has them, and reading what has become of them.

The kernel's rtnetlink protocol, in the few words that this needs: no program of the host is sure to be there.
"""

import errno
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import ip_interface
from typing import Any

NEW_LINK, GET_LINK, NEW_ADDRESS, GET_ADDRESS, NEW_ROUTE = 16, 18, 20, 22, 24
REQUEST, ACKNOWLEDGE, DUMP, CREATE, EXCLUSIVE = 1, 4, 0x300, 0x400, 0x200
ERROR, DONE = 2, 3
HEADER = struct.Struct("=IHHII")
LINK = struct.Struct("=BxHiII")
ADDRESS = struct.Struct("=BBBBI")
ROUTE = struct.Struct("=BBBBBBBBI")
UP = 1
LINK_ADDRESS, LINK_NAME, LINK_INFO, LINK_KIND, LINK_STATISTICS = 1, 3, 18, 1, 23
IP_ADDRESS, IP_LOCAL, NO_DUPLICATE_DETECTION = 1, 2, 2
ROUTE_DEVICE, ROUTE_GATEWAY = 4, 5
MAIN_TABLE, BY_BOOT, UNIVERSE, UNICAST = 254, 3, 0, 1
KINDS = ("dummy", "bridge")
"""Devices that lead nowhere; not every kernel has the first."""
COUNTERS = (
    "rx-packets", "tx-packets", "rx-bytes", "tx-bytes", "rx-errs", "tx-errs", "rx-dropped", "tx-dropped",
)  # fmt: skip
"""The first of the kernel's counters, in its order."""
ANSWER = 262_144


def make_device(device: dict[str, Any]) -> None:
    """Make a network device and bring it up.

    Args:
        device: as the guest agent lists it: `name`, `hardware-address`, `ip-addresses`; `gateways`.

    Raises:
        OSError: the kernel has no such device, or refuses an address.
    """
    for kind in KINDS:
        try:
            _new_link(device["name"], bytes.fromhex(device["hardware-address"].replace(":", "")), kind)
            break
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP or kind == KINDS[-1]:
                raise
    index = socket.if_nametoindex(device["name"])
    for address in device["ip-addresses"]:
        interface = ip_interface(f"{address['ip-address']}/{address['prefix']}")
        raw = interface.packed
        body = ADDRESS.pack(_family(raw), address["prefix"], NO_DUPLICATE_DETECTION, 0, index)
        _change(NEW_ADDRESS, body + _attribute(IP_LOCAL, raw) + _attribute(IP_ADDRESS, raw))
    for gateway in device["gateways"]:
        raw = ip_interface(gateway).packed
        body = ROUTE.pack(_family(raw), 0, 0, 0, MAIN_TABLE, BY_BOOT, UNIVERSE, UNICAST, 0)
        attributes = _attribute(ROUTE_GATEWAY, raw) + _attribute(ROUTE_DEVICE, struct.pack("=I", index))
        with suppress(
            OSError
        ):  # a gateway that is out of reach is a mistake in the configuration, as in reality
            _change(NEW_ROUTE, body + attributes)


def _new_link(name: str, hardware: bytes, kind: str) -> None:
    attributes = _attribute(LINK_NAME, name.encode() + b"\0") + _attribute(LINK_ADDRESS, hardware)
    attributes += _attribute(LINK_INFO, _attribute(LINK_KIND, kind.encode()))
    _change(NEW_LINK, LINK.pack(socket.AF_UNSPEC, 0, 0, UP, UP) + attributes)


def interfaces() -> list[dict[str, Any]]:
    """All network devices with their addresses, as the guest agent lists them."""
    found: dict[int, dict[str, Any]] = {}
    for body in _list(GET_LINK, LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0)):
        index = LINK.unpack_from(body)[2]
        attributes = dict(_attributes(body[LINK.size :]))
        counters = struct.unpack_from(f"={len(COUNTERS)}Q", attributes[LINK_STATISTICS])
        found[index] = {
            "name": attributes[LINK_NAME].rstrip(b"\0").decode(errors="replace"),
            "hardware-address": ":".join(f"{octet:02x}" for octet in attributes.get(LINK_ADDRESS, bytes(6))),
            "ip-addresses": [],
            "statistics": dict(zip(COUNTERS, counters, strict=True)),
        }
    for body in _list(GET_ADDRESS, ADDRESS.pack(socket.AF_UNSPEC, 0, 0, 0, 0)):
        family, prefix, _, _, index = ADDRESS.unpack_from(body)
        attributes = dict(_attributes(body[ADDRESS.size :]))
        raw = attributes.get(IP_LOCAL, attributes.get(IP_ADDRESS, b""))
        if index in found:
            kind = "ipv4" if family == socket.AF_INET else "ipv6"
            address = {"ip-address": socket.inet_ntop(family, raw), "ip-address-type": kind, "prefix": prefix}
            found[index]["ip-addresses"].append(address)
    return [found[index] for index in sorted(found)]


def _family(address: bytes) -> int:
    return socket.AF_INET if len(address) == 4 else socket.AF_INET6


def _attribute(kind: int, data: bytes) -> bytes:
    length = 4 + len(data)
    return struct.pack("=HH", length, kind) + data + bytes(-length % 4)


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        yield kind, data[4:length]
        data = data[length + (-length % 4) :]


def _change(kind: int, body: bytes) -> None:
    for _ in _talk(kind, REQUEST | ACKNOWLEDGE | CREATE | EXCLUSIVE, body):
        pass


def _list(kind: int, body: bytes) -> Iterator[bytes]:
    return _talk(kind, REQUEST | DUMP, body)


def _talk(kind: int, flags: int, body: bytes) -> Iterator[bytes]:
    """Send one request; the bodies of the answers, up to the last or the acknowledgement."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as channel:
        channel.send(HEADER.pack(HEADER.size + len(body), kind, flags, 1, 0) + body)
        while True:
            data = channel.recv(ANSWER)
            while data:
                length, answer, _, _, _ = HEADER.unpack_from(data)
                content, data = data[HEADER.size : length], data[length + (-length % 4) :]
                if answer == DONE:
                    return
                if answer == ERROR:
                    (code,) = struct.unpack_from("=i", content)
                    if code:
                        raise OSError(-code, os.strerror(-code))
                    return
                yield content
