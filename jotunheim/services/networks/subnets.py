"""Reads the addresses, ranges and networks that callers name, and says what does not make sense about them."""

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from jotunheim.data.node.spec import MAX_POOL_ADDRESSES, Address, AddressPoolSpec, Network
from jotunheim.exceptions.model import DataValidationError, FieldProblem

_BITS = {"ipv4": 32, "ipv6": 128}
_FAMILIES = {4: "ipv4", 6: "ipv6"}
ONLY_ADDRESSES = ("gateway", "vlan", "nameservers", "mac_prefix")
"""What a pool of prefixes has not: they are for networks behind the servers, and these are about the one before them."""


@dataclass(frozen=True)
class Range:
    """From the first to the last address of a pool.

    Attributes:
        prefix_length: of the prefixes that are meant, each by its first address; None: addresses are.
    """

    first: Address
    last: Address
    prefix_length: int | None = None

    @property
    def step(self) -> int:
        """How far apart two of them begin."""
        return 1 if self.prefix_length is None else 1 << (self.first.max_prefixlen - self.prefix_length)

    @property
    def size(self) -> int:
        """How many there are."""
        return (int(self.last) - int(self.first)) // self.step + 1

    @property
    def end(self) -> Address:
        """The last address of the last of them."""
        return type(self.last)(int(self.last) + self.step - 1)

    def __contains__(self, address: Address) -> bool:
        """Whether it is one of them, of the same family."""
        beyond = int(address) - int(self.first)
        return (
            address.version == self.first.version
            and 0 <= beyond < self.size * self.step
            and not beyond % self.step
        )

    def without(self, others: Iterable[Address]) -> Iterator[Address]:
        """Each of them, but for these others."""
        kind, left_out = type(self.first), {int(other) for other in others}
        for number in range(int(self.first), int(self.last) + 1, self.step):
            if number not in left_out:
                yield kind(number)

    def problems_in(self, network: Network, present: int = 0) -> list[FieldProblem]:
        """What does not make sense about it in this subnet.

        Args:
            present: how many addresses the pool has already.
        """
        if int(self.last) < int(self.first):
            return [FieldProblem("last", "must not come before first")]
        problems = [
            FieldProblem(field, f"is not in {network}")
            for field, address in (("first", self.first), ("last", self.end))
            if address not in network
        ]
        problems += [
            FieldProblem(field, f"is not where a prefix of length {self.prefix_length} begins")
            for field, address in (("first", self.first), ("last", self.last))
            if int(address) % self.step
        ]
        if present + self.size > MAX_POOL_ADDRESSES:
            what = "addresses" if self.prefix_length is None else "prefixes"
            problems.append(FieldProblem("last", f"a pool holds at most {MAX_POOL_ADDRESSES} {what}"))
        return problems


@dataclass(frozen=True)
class Subnet:
    """A network, its router, and what of it a pool has."""

    network: Network
    range: Range
    gateway: Address | None

    @property
    def addresses(self) -> Iterator[Address]:
        """What servers can have of the range: neither the gateway nor what no host can have."""
        taken = set() if self.range.prefix_length else _edges(self.network).keys()
        return self.range.without({*taken, self.gateway} - {None})  # type: ignore[arg-type]


def family_of(address: Address) -> str:
    """`ipv4` or `ipv6`."""
    return _FAMILIES[address.version]


def parse_address(field: str, text: str, family: str) -> Address:
    """An address of this family.

    Raises:
        DataValidationError: it is none.
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise DataValidationError([FieldProblem(field, f"{text!r} is not an IP address")]) from None
    if family_of(address) != family or "%" in text:
        raise DataValidationError([FieldProblem(field, f"is not an {family} address")])
    return address


def gateway_problems(gateway: Address, network: Network) -> list[FieldProblem]:
    """What does not make sense about a gateway in this subnet."""
    if gateway not in network:
        return [FieldProblem("gateway", f"is not in {network}")]
    edges = _edges(network)
    return (
        [FieldProblem("gateway", f"is the {edges[gateway]} address of {network}")] if gateway in edges else []
    )


def subnet_of(spec: AddressPoolSpec) -> Subnet:
    """What a pool shall have.

    Raises:
        DataValidationError: it makes no sense; every problem is reported at once.
    """
    problems = _delegation_problems(spec)

    def parse(field: str, text: str | None) -> Address | None:
        try:
            return None if text is None else parse_address(field, text, spec.family)
        except DataValidationError as error:
            problems.extend(error.problems)
            return None

    gateway = parse("gateway", spec.gateway)
    if spec.prefix is not None:
        network, range_ = _by_prefix(spec, spec.prefix, problems)
    else:
        network, range_ = _by_range(spec, parse("first", spec.first), parse("last", spec.last), problems)
    if network is not None and range_ is not None:
        odd = range_.problems_in(network)
        problems += odd if spec.prefix is None else [FieldProblem("prefix", one.message) for one in odd]
        if not odd:
            problems += _reservation_problems(spec, Subnet(network, range_, gateway))
        if not odd and next(Subnet(network, range_, gateway).addresses, None) is None:
            field = "first" if gateway is None or gateway not in range_ else "gateway"
            problems.append(FieldProblem(field, "leaves no address for servers"))
    if network is not None and gateway is not None:
        problems += gateway_problems(gateway, network)
    if problems or network is None or range_ is None:
        raise DataValidationError(problems)
    return Subnet(network, range_, gateway)


def _delegation_problems(spec: AddressPoolSpec) -> list[FieldProblem]:
    if spec.delegated_prefix_length is None:
        return []
    problems = [
        FieldProblem(field, "is for pools of addresses, and this one has prefixes")
        for field in ONLY_ADDRESSES
        if getattr(spec, field)
    ]
    if spec.family != "ipv6":
        problems.append(FieldProblem("delegated_prefix_length", "is for pools of the family ipv6"))
    return problems


def _reservation_problems(spec: AddressPoolSpec, subnet: Subnet) -> list[FieldProblem]:
    problems, range_ = [], subnet.range
    for index, text in enumerate(spec.reserved_addresses):
        network = ipaddress.ip_network(text)
        address = network.network_address
        length = network.prefixlen if "/" in text else None
        if family_of(address) != spec.family or length != range_.prefix_length or address not in range_:
            problems.append(FieldProblem(f"reserved_addresses.{index}", "is not one of the pool"))
        elif address == subnet.gateway:
            problems.append(FieldProblem(f"reserved_addresses.{index}", "is the gateway"))
        elif length is None and (edge := _edges(subnet.network).get(address)):
            problems.append(FieldProblem(f"reserved_addresses.{index}", f"is the {edge} address"))
    return problems


def _by_prefix(
    spec: AddressPoolSpec, prefix: str, problems: list[FieldProblem]
) -> tuple[Network | None, Range | None]:
    problems += [
        FieldProblem(field, "must not be given together with prefix")
        for field in ("first", "last", "prefix_length")
        if getattr(spec, field) is not None
    ]
    try:
        network = ipaddress.ip_network(prefix.replace("%", "x"))  # no scopes
    except ValueError:
        problems.append(
            FieldProblem("prefix", "must be a network such as 10.0.0.0/24, with no host bits set")
        )
        return None, None
    if _FAMILIES[network.version] != spec.family:
        problems.append(FieldProblem("prefix", f"is not an {spec.family} network"))
        return None, None
    length = spec.delegated_prefix_length
    if length is None:
        return network, _usable(network)
    if not _is_within(length, network, problems):
        return network, None
    first, last = int(network.network_address), int(network.broadcast_address)
    begins = last - last % (1 << (network.max_prefixlen - length))
    return network, Range(network[0], network[begins - first], length)


def _by_range(
    spec: AddressPoolSpec, first: Address | None, last: Address | None, problems: list[FieldProblem]
) -> tuple[Network | None, Range | None]:
    problems += [
        FieldProblem(field, "is required unless prefix is given")
        for field in ("first", "last", "prefix_length")
        if getattr(spec, field) is None
    ]
    bits = _BITS[spec.family]
    if spec.prefix_length is not None and spec.prefix_length > bits:
        problems.append(FieldProblem("prefix_length", f"must be at most {bits} for {spec.family}"))
        return None, None
    if first is None or last is None or spec.prefix_length is None:
        return None, None
    network = ipaddress.ip_network((first, spec.prefix_length), strict=False)
    length = spec.delegated_prefix_length
    if length is not None and not _is_within(length, network, problems):
        return network, None
    return network, Range(first, last, length)


def _is_within(length: int, network: Network, problems: list[FieldProblem]) -> bool:
    """Whether prefixes of a length fit into a network; notes it when they do not."""
    if network.prefixlen <= length <= network.max_prefixlen:
        return True
    if network.version == 6:  # else the family is told to be wrong
        problems.append(FieldProblem("delegated_prefix_length", f"must be at least {network.prefixlen}"))
    return False


def _edges(network: Network) -> dict[Address, str]:
    """The addresses of a network that no host can have, and what they are."""
    if network.version == 6 or network.num_addresses <= 2:
        return {}
    return {network.network_address: "network", network.broadcast_address: "broadcast"}


def _usable(network: Network) -> Range:
    """All addresses of a network that a host can have: not its own nor the broadcast address."""
    edge = 0 if network.num_addresses <= 2 else 1
    last_edge = edge if network.version == 4 else 0  # IPv6 has no broadcast address
    return Range(network[edge], network[-1 - last_edge])
