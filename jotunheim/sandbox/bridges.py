"""Who may connect a VM to which bridge: `SDN.Use`, by bridge or VLAN, as PVE checks it since version 8."""

from collections.abc import Mapping

from jotunheim.sandbox.call import Call
from jotunheim.sandbox.configvalues import parse_net
from jotunheim.sandbox.pve84 import numbered

ZONE = "/sdn/zones/localnetwork"
"""Where the nodes' own bridges stand in the access tree."""


def require_bridges(call: Call, config: Mapping[str, str]) -> None:
    """Refuse with 403 unless the sender may use the bridge, or its VLANs, of each network device."""
    for name in sorted(config):
        found = numbered(name)
        if found is None or found[0] != "net":
            continue
        net = parse_net(str(config[name]))
        if "bridge" not in net:
            continue
        bridge = f"{ZONE}/{net['bridge']}"
        tags = [net["tag"]] if "tag" in net else net.get("trunks", "").split(";")
        for tag in tags:
            call.require(f"{bridge}/{tag.partition('-')[0]}" if tag else bridge, "SDN.Use")
