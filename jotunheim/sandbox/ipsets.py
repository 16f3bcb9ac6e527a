"""IP sets of a VM's firewall file."""

from typing import Any

from jotunheim.sandbox.call import Call, Routes
from jotunheim.sandbox.errors import bad_params, failure
from jotunheim.sandbox.firewall import digest, firewall_of, writable
from jotunheim.sandbox.state import Firewall, IpSet

routes = Routes()

BASE = "/nodes/{node}/qemu/{vmid}/firewall/ipset"


def _set(call: Call, file: Firewall) -> IpSet:
    name = str(call.params["name"])
    if name not in file.ipsets:
        raise failure(f"no such IPSet '{name}'")
    return file.ipsets[name]


@routes("GET", BASE)
async def list_sets(call: Call) -> list[dict[str, Any]]:
    """All sets."""
    file = firewall_of(call)
    return [
        {"name": name, "digest": digest(file)} | ({"comment": found.comment} if found.comment else {})
        for name, found in sorted(file.ipsets.items())
    ]


@routes("POST", BASE)
async def add_set(call: Call) -> None:
    """Add a set, or rename one."""
    file, name = writable(call), str(call.params["name"])
    old = call.get("rename")
    if old is not None:
        if old not in file.ipsets:
            raise bad_params(name=f"IPSet '{old}' does not exist")
        if name != old and name in file.ipsets:
            raise bad_params(name=f"IPSet '{name}' already exists")
        file.ipsets[name] = file.ipsets.pop(old)
        if "comment" in call.params:
            file.ipsets[name].comment = call.params["comment"]
        return
    if name in file.ipsets:
        raise bad_params(name=f"IPSet '{name}' already exists")
    file.ipsets[name] = IpSet(call.get("comment"))


@routes("DELETE", BASE + "/{name}")
async def delete_set(call: Call) -> None:
    """Delete an empty set, or any with `force`."""
    file, name = writable(call), str(call.params["name"])
    if _set(call, file).entries and not call.get("force"):
        raise failure(f"IPSet '{name}' is not empty")
    del file.ipsets[name]


@routes("GET", BASE + "/{name}")
async def list_entries(call: Call) -> list[dict[str, Any]]:
    """A set's addresses."""
    file = firewall_of(call)
    return [entry | {"digest": digest(file)} for _, entry in sorted(_set(call, file).entries.items())]


@routes("POST", BASE + "/{name}")
async def add_entry(call: Call) -> None:
    """Add an address to a set."""
    found, cidr = _set(call, writable(call)), str(call.params["cidr"])
    if cidr in found.entries:
        raise bad_params(cidr=f"address '{cidr}' already exists")
    entry: dict[str, Any] = {"cidr": cidr}
    if call.get("nomatch"):
        entry["nomatch"] = 1
    if call.get("comment"):
        entry["comment"] = call.params["comment"]
    found.entries[cidr] = entry


def _entry(call: Call, file: Firewall) -> dict[str, Any]:
    found = _set(call, file).entries.get(str(call.params["cidr"]))
    if found is None:
        raise bad_params(cidr="no such IP/Network")
    return found


@routes("GET", BASE + "/{name}/{cidr}")
async def show_entry(call: Call) -> dict[str, Any]:
    """One address of a set."""
    file = firewall_of(call)
    return _entry(call, file) | {"digest": digest(file)}


@routes("PUT", BASE + "/{name}/{cidr}")
async def change_entry(call: Call) -> None:
    """Change an address's comment or whether it is excluded."""
    entry = _entry(call, writable(call))
    for name in ("comment", "nomatch"):
        if name in call.params:
            entry.pop(name, None)
            if call.params[name]:
                entry[name] = call.params[name]


@routes("DELETE", BASE + "/{name}/{cidr}")
async def delete_entry(call: Call) -> None:
    """Take an address out of a set; one that is not in it is no error."""
    _set(call, writable(call)).entries.pop(str(call.params["cidr"]), None)
