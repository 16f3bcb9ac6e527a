"""The firewall of a VM: its options, the addresses that its first network device may use, its rules.

`ipfilter-net0` is Proxmox VE's own name for the set of source addresses that a device may send from. For VMs nothing
is put into it implicitly but the IPv6 link-local address that belongs to the device's MAC address. The set counts from
the moment it exists, whatever the option `ipfilter` says.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.jotunheim.pve.plugins.plugin_utils import rules
from ansible_collections.jotunheim.pve.plugins.plugin_utils.plan import Change, Plan
from ansible_collections.jotunheim.pve.plugins.plugin_utils.rules import Read, Rule
from ansible_collections.jotunheim.pve.plugins.plugin_utils.vm import Vm

from jotunheim.exceptions.model import DataValidationError, FieldProblem
from jotunheim.exceptions.repository import (
    ProxmoxConfigChangedError,
    ProxmoxNotFoundError,
    ProxmoxRequestError,
)

IP_SET = "ipfilter-net0"
_ASIDE = "jotunheim-net0"
"""The set while it is being filled: Proxmox VE must not see it half-full under its own name."""
POLICIES = ("ACCEPT", "DROP", "REJECT")
_ALREADY = "already exists"


@dataclass(frozen=True)
class Wanted:
    """A wanted firewall; None leaves a part as it is.

    Attributes:
        enabled: Proxmox VE's firewall for this VM. Without it nothing else has an effect.
        ip_filter: only `addresses` may be sent from; False removes the set.
        addresses: IP addresses or networks.
        rules: all rules.
    """

    enabled: bool | None = None
    mac_filter: bool | None = None
    ip_filter: bool | None = None
    addresses: tuple[str, ...] | None = None
    policy_in: str | None = None
    policy_out: str | None = None
    rules: tuple[Rule, ...] | None = None

    @property
    def is_nothing(self) -> bool:
        """Whether everything is left as it is."""
        return all(getattr(self, name) is None for name in self.__dataclass_fields__)

    @property
    def options(self) -> dict[str, bool | str]:
        """The options that are set, in Proxmox VE's words."""
        given = {
            "enable": self.enabled,
            "macfilter": self.mac_filter,
            "ipfilter": self.ip_filter,
            "policy_in": self.policy_in,
            "policy_out": self.policy_out,
        }
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True)
class Found:
    """The firewall that there is.

    Attributes:
        options: in Proxmox VE's words, with its `digest`; without one they were not read.
        entries: the set's members; None: there is no set.
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    entries: tuple[str, ...] | None = None
    rules: Read = field(default_factory=lambda: Read([], None))

    @property
    def is_on(self) -> bool:
        """Whether the firewall filters, or may do so."""
        return "digest" not in self.options or bool(int(self.options.get("enable", 0)))


def addresses_of(texts: Sequence[str] | None) -> tuple[str, ...] | None:
    """Addresses and networks in Proxmox VE's spelling, each once.

    Raises:
        DataValidationError: one of them is none.
    """
    if texts is None:
        return None
    found: dict[str, None] = {}
    problems = []
    for index, text in enumerate(texts):
        try:
            found[_spelled(text)] = None
        except ValueError:
            problems.append(FieldProblem(f"addresses.{index}", "is no IP address or network"))
    if problems:
        raise DataValidationError(problems)
    return tuple(found)


def policy_of(name: str, value: str | None) -> str | None:
    """A policy. Raises DataValidationError when it is none."""
    if value is None or value in POLICIES:
        return value
    raise DataValidationError([FieldProblem(name, f"must be one of {', '.join(POLICIES)}")])


def read(vm: Vm, wanted: Wanted, *, new: bool) -> Found:
    """What there is of the parts that are wanted.

    Args:
        new: the VM is a clone that this run has just made. A template with options or a set is rare: what of them is
            written anyway is not read before. Its rules are, and a set that must not be there.
    """
    options: Mapping[str, Any] = {}
    entries = None
    if not new and (wanted.options or wanted.addresses is not None):
        options = vm.client.get(vm.path("firewall", "options"))
    if wanted.ip_filter is False or (wanted.addresses is not None and not new):
        entries = _entries(vm)
    return Found(options, entries, rules.read(vm) if wanted.rules is not None else Read([], None))


def plan(found: Found, wanted: Wanted) -> Plan:
    """What has to change; `writes` are options."""
    made = Plan()
    for name, value in _options(found, wanted).items():
        before = found.options.get(name)
        if isinstance(value, bool):
            made.set(name, None if before is None else bool(int(before)), value, sent=int(value))
        else:
            made.set(name, before, value)
    before_entries = None if found.entries is None else sorted(found.entries)
    after = before_entries
    if wanted.ip_filter is False:
        after = None
    elif wanted.addresses is not None:
        after = sorted(wanted.addresses)
    changes = Plan()
    changes.set(IP_SET, before_entries, after)
    made.changes += changes.changes
    if wanted.rules is not None and list(wanted.rules) != found.rules.rules:
        before, wished = rules.shown(found.rules.rules), rules.shown(wanted.rules)
        made.changes.append(Change("rules", before, wished))
    return made


def apply(vm: Vm, found: Found, wanted: Wanted, needed: Plan, *, new: bool) -> None:
    """Carry a plan out, so that nothing that is allowed before and after is cut off, and nothing else opened.

    First the addresses, then new rules, then options and policies, last the rules that go.

    Raises:
        ProxmoxConfigChangedError: somebody else changes the same at the same time.
    """
    live = not new and found.is_on
    wrote = False
    if wanted.addresses is not None and wanted.ip_filter is not False:
        wrote = _fill(vm, found.entries, wanted.addresses, live=live)
    way = None
    if wanted.rules is not None:
        way = rules.Way(vm, found.rules, wanted.rules, live=live, swaps=not needed.writes)
        if wrote:
            way.forget_digest()
        way.insert()
        wrote = wrote or way.wrote
    if needed.writes:
        digest = _options_digest(vm, found, again=wrote)
        vm.client.put(vm.path("firewall", "options"), digest=digest, **needed.writes)
        wrote = True
    if way is not None:
        if wrote:
            way.forget_digest()
        way.remove()
    if wanted.ip_filter is False and found.entries is not None:
        vm.client.delete(vm.path("firewall", "ipset", IP_SET), force=True)


def _options(found: Found, wanted: Wanted) -> dict[str, bool | str]:
    """The wanted options. A firewall that is switched on lets pass what passed before, unless a policy says otherwise."""
    options = wanted.options
    if wanted.enabled and not int(found.options.get("enable", 0)):
        for policy in ("policy_in", "policy_out"):
            if policy not in found.options:
                options.setdefault(policy, POLICIES[0])
    return options


def _options_digest(vm: Vm, found: Found, *, again: bool) -> str | None:
    """The digest of the options as they were found; None: they were not read, since the VM is new.

    Args:
        again: something else was written since, and digests may go over all of it.
    """
    if "digest" not in found.options:
        return None
    if not again:
        return str(found.options["digest"])
    now = vm.client.get(vm.path("firewall", "options"))
    if _without_digest(now) != _without_digest(found.options):
        raise ProxmoxConfigChangedError(
            f"Somebody else changes the firewall options of VM {vm.vmid} at the same time.", hint="Try again."
        )
    return str(now["digest"])


def _without_digest(options: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in options.items() if name != "digest"}


def _entries(vm: Vm) -> tuple[str, ...] | None:
    try:
        listed = vm.client.get(vm.path("firewall", "ipset", IP_SET))
    except ProxmoxNotFoundError:
        return None
    return tuple(_entry(entry) for entry in listed)


def _entry(entry: Mapping[str, Any]) -> str:
    """One member as it is spelled there; those that exclude an address begin with `!`, as in Proxmox VE's files."""
    return f"!{entry['cidr']}" if int(entry.get("nomatch", 0)) else str(entry["cidr"])


def _fill(vm: Vm, found: Sequence[str] | None, wanted: Sequence[str], *, live: bool) -> bool:
    """Bring the set to exactly these members; what is missing comes first. Returns whether anything was written."""
    if found is None:
        found = _create(vm, wanted, aside=live)
        if found is None:
            return True
    excluded = [entry for entry in found if entry.removeprefix("!") in wanted and entry not in wanted]
    for entry in excluded:
        _delete(vm, entry)
    missing = [address for address in wanted if address not in found]
    for address in missing:
        vm.client.post(vm.path("firewall", "ipset", IP_SET), cidr=address)
    extra = [entry for entry in found if entry not in wanted and entry not in excluded]
    for entry in extra:
        _delete(vm, entry)
    return bool(excluded or missing or extra)


def _create(vm: Vm, wanted: Sequence[str], *, aside: bool) -> Sequence[str] | None:
    """Make the set with all members. Returns None; or what is in it, when it was there already.

    Args:
        aside: the firewall is on, and would block the guest while the set is incomplete.
    """
    sets = vm.path("firewall", "ipset")
    name = _ASIDE if aside else IP_SET
    try:
        vm.client.post(sets, name=name)
    except ProxmoxRequestError as error:
        if _ALREADY not in error.message:
            raise
        if not aside:
            return _entries(vm) or ()
        vm.client.delete(vm.path("firewall", "ipset", name), force=True)  # of an attempt that was interrupted
        vm.client.post(sets, name=name)
    for address in wanted:
        vm.client.post(vm.path("firewall", "ipset", name), cidr=address)
    if aside:
        vm.client.post(sets, name=IP_SET, rename=name)
    return None


def _delete(vm: Vm, entry: str) -> None:
    vm.client.delete(vm.path("firewall", "ipset", IP_SET, entry.removeprefix("!")))


def _spelled(text: str) -> str:
    """An address without the length of a whole address, a network with its length."""
    network = ipaddress.ip_network(text, strict=True)
    return str(network.network_address) if network.prefixlen == network.max_prefixlen else str(network)
