"""Reads the addresses, ranges and networks that callers name, and says what does not make sense about them."""

import ipaddress
from collections.abc import Iterator

from jotunheim.data.node.spec import MAX_POOL_ADDRESSES, Address, AddressPoolSpec, Network
from jotunheim.exceptions.model import DataValidationError, FieldProblem

_VERSIONS = {"ipv4": 4, "ipv6": 6}


def parse_address(field: str, text: str, family: str) -> Address:
    """An address of this family.

    Raises:
        DataValidationError: it is none.
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise DataValidationError([FieldProblem(field, f"{text!r} is not an IP address")]) from None
    if address.version != _VERSIONS[family]:
        raise DataValidationError([FieldProblem(field, f"is not an {family} address")])
    return address


def subnet_of(spec: AddressPoolSpec) -> tuple[Address, Address, Network, Address | None]:
    """First and last address, the subnet and the gateway; every problem is reported at once."""
    problems: list[FieldProblem] = []
    version = _VERSIONS[spec.family]

    def parse(field: str, text: str | None) -> Address | None:
        try:
            return None if text is None else parse_address(field, text, spec.family)
        except DataValidationError as error:
            problems.extend(error.problems)
            return None

    first, last, gateway = (
        parse("first", spec.first),
        parse("last", spec.last),
        parse("gateway", spec.gateway),
    )
    network: Network | None = None
    if spec.prefix is not None:
        problems += [
            FieldProblem(field, "must not be given together with prefix")
            for field in ("first", "last", "prefix_length")
            if getattr(spec, field) is not None
        ]
        try:
            network = ipaddress.ip_network(spec.prefix)
        except ValueError:
            problems.append(
                FieldProblem("prefix", "must be a network such as 10.0.0.0/24, with no host bits set")
            )
        else:
            if network.version != version:
                problems.append(FieldProblem("prefix", f"is not an {spec.family} network"))
            first, last = _usable(network)
    else:
        problems += [
            FieldProblem(field, "is required unless prefix is given")
            for field in ("first", "last", "prefix_length")
            if getattr(spec, field) is None
        ]
        if spec.prefix_length is not None and spec.prefix_length > (32 if version == 4 else 128):
            problems.append(FieldProblem("prefix_length", "must be at most 32 for ipv4"))
        elif first is not None and spec.prefix_length is not None:
            network = ipaddress.ip_network((first, spec.prefix_length), strict=False)
    if first is not None and last is not None and network is not None and first.version == last.version:
        if int(last) < int(first):
            problems.append(FieldProblem("last", "must not come before first"))
        elif last not in network:
            problems.append(FieldProblem("last", f"is not in {network}"))
        if int(last) - int(first) >= MAX_POOL_ADDRESSES:
            problems.append(FieldProblem("last", f"a pool holds at most {MAX_POOL_ADDRESSES} addresses"))
    if first is not None and first == last == gateway:
        problems.append(FieldProblem("gateway", "is the only address of the pool"))
    if (
        gateway is not None
        and network is not None
        and gateway.version == network.version
        and gateway not in network
    ):
        problems.append(FieldProblem("gateway", f"is not in {network}"))
    if problems or first is None or last is None or network is None:
        raise DataValidationError(problems)
    return first, last, network, gateway


def _usable(network: Network) -> tuple[Address, Address]:
    """First and last address of a network that a host can have: not its own nor the broadcast address."""
    edge = 0 if network.num_addresses <= 2 else 1
    last_edge = edge if network.version == 4 else 0  # IPv6 has no broadcast address
    return network[edge], network[-1 - last_edge]


def between(first: Address, last: Address) -> Iterator[Address]:
    for number in range(int(first), int(last) + 1):
        yield type(first)(number)
