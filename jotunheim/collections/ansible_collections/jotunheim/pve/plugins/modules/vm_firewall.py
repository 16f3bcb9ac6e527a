"""Documentation of the action plugin plugins/action/vm_firewall.py; there is no module to send to a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_firewall
version_added: 0.1.0
short_description: Set the firewall of the VM of this host
description:
  - Options, the addresses that the first network device may send from, and rules. What is not given stays as it is.
  - At any moment each packet is treated as before or as it is wanted, never in a third way.
  - Proxmox VE filters nothing while the firewall of the datacenter is off, or a network device has C(firewall=0).
options:
  enabled:
    description:
      - Whether the firewall filters this VM at all.
      - When it is switched on, policies that neither this task nor Proxmox VE has become V(ACCEPT); Proxmox VE would drop
        what comes in.
    type: bool
  mac_filter:
    description: Drop what the VM sends from another MAC address than its own.
    type: bool
  ip_filter:
    description:
      - Drop what the VM sends from other addresses than O(addresses). IPv6 link-local is restricted to the address that
        belongs to the MAC address.
      - V(false) removes the set too, which otherwise counts all the same.
    type: bool
  addresses:
    description: All addresses and networks that the first network device may send from, the set C(ipfilter-net0).
    type: list
    elements: str
  policy_in:
    description: What becomes of what comes in and no rule matches, V(ACCEPT), V(DROP) or V(REJECT).
    type: str
  policy_out:
    description: What becomes of what goes out and no rule matches, likewise.
    type: str
  rules:
    description: All rules, the first one that matches counts. Others are deleted.
    type: list
    elements: dict
    suboptions:
      direction:
        description: Whether it is about what comes in or what goes out.
        type: str
        required: true
        choices: [in, out]
      action:
        description: What becomes of what matches.
        type: str
        required: true
        choices: [ACCEPT, DROP, REJECT]
      macro:
        description: A macro of Proxmox VE, for example V(HTTPS), in place of protocol and ports.
        type: str
      protocol:
        description: For example V(tcp).
        type: str
      source:
        description: Addresses and networks of one family, joined by commas, or a range.
        type: str
      destination:
        description: As O(rules[].source).
        type: str
      source_port:
        description: Ports and ranges, for example V(80,443,1000:2000).
        type: str
      destination_port:
        description: As O(rules[].source_port).
        type: str
      comment:
        description: One line.
        type: str
      enabled:
        description: Whether the rule counts.
        type: bool
        default: true
extends_documentation_fragment:
  - jotunheim.pve.connection
"""

EXAMPLES = r"""
- name: Nobody else's addresses
  jotunheim.pve.vm_firewall:
    enabled: true
    mac_filter: true
    ip_filter: true
    addresses: [192.0.2.10, "2001:db8::10"]

- name: Only SSH and HTTPS
  jotunheim.pve.vm_firewall:
    enabled: true
    policy_in: DROP
    rules:
      - {direction: in, action: ACCEPT, macro: HTTPS}
      - {direction: in, action: ACCEPT, protocol: tcp, destination_port: "22", source: 198.51.100.0/24}
"""

RETURN = r"""
error:
  description: What went wrong.
  returned: failure
  type: dict
  contains:
    code:
      description: Stable identifier, for example V(config_changed).
      type: str
    message:
      description: One sentence for a person.
      type: str
    retryable:
      description: Whether the same task may succeed later without a change.
      type: bool
    hint:
      description: What to do about it.
      type: str
"""
