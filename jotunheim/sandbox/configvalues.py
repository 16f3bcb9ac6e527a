"""What PVE makes of configuration values before it stores them: MACs, tags, keys, passwords, UUIDs."""

import base64
import re
import secrets
import uuid
from collections.abc import Mapping
from itertools import pairwise
from urllib.parse import unquote

from fakepve.formats import split_list

from jotunheim.sandbox import pve84
from jotunheim.sandbox.crypt import sha256_crypt
from jotunheim.sandbox.errors import failure
from jotunheim.sandbox.validation import parse_property_string

PRIVILEGES = {
    **dict.fromkeys(
        ("sockets", "cores", "cpu", "cpulimit", "cpuunits", "vcpus", "affinity"), "VM.Config.CPU"
    ),
    **dict.fromkeys(("memory", "balloon", "shares", "hugepages", "keephugepages"), "VM.Config.Memory"),
    **dict.fromkeys(
        ("cicustom", "cipassword", "citype", "ciuser", "ciupgrade", "nameserver", "searchdomain", "sshkeys"),
        "VM.Config.Cloudinit",
    ),
    **dict.fromkeys(("vmstate", "startup"), "VM.PowerMgmt"),
    **dict.fromkeys(
        [
            "acpi",
            "arch",
            "bios",
            "kvm",
            "machine",
            "numa",
            "scsihw",
            "vga",
            "watchdog",
            "rng0",
            "audio0",
            "ivshmem",
            "tpmstate0",
            "efidisk0",
            "smbios1",
            "vmgenid",
        ],
        "VM.Config.HWType",
    ),
}
"""The privilege that each option needs; all others need VM.Config.Options."""

ROOT_ONLY = frozenset({"args", "lock", "hookscript"})
KEY_TYPES = ("ssh-ed25519", "ssh-rsa", "ssh-dss", "ecdsa-sha2-", "sk-ssh-ed25519@", "sk-ecdsa-sha2-")


def privilege_of(name: str) -> str:
    """The privilege to change an option that is no drive."""
    if name in PRIVILEGES:
        return PRIVILEGES[name]
    numbered = pve84.numbered(name)
    if numbered:
        match numbered[0]:
            case "net" | "ipconfig":
                return "VM.Config.Network"
            case "unused":
                return "VM.Config.Disk"
            case "serial" | "parallel" | "usb" | "hostpci" | "numa" | "virtiofs":
                return "VM.Config.HWType"
    return "VM.Config.Options"


def new_mac() -> str:
    """A MAC address with Proxmox's prefix."""
    return "BC:24:11:" + ":".join(f"{octet:02X}" for octet in secrets.token_bytes(3))


def parse_net(text: str) -> dict[str, str]:
    """`virtio=MAC,bridge=vmbr0` as a mapping with model and macaddr."""
    spec = pve84.config_properties()["net[n]"]["format"]
    return parse_property_string(spec, text)


def print_net(net: Mapping[str, str]) -> str:
    """The notation of a network device: model and address first, then its options by name."""
    options = [f"{key}={net[key]}" for key in sorted(net) if key not in ("model", "macaddr")]
    return ",".join([f"{net['model']}={net['macaddr']}", *options])


def normal_tags(text: str) -> str:
    """Tags as PVE stores them after a change: lower case, sorted, each once."""
    return ";".join(sorted({tag.lower() for tag in split_list(text)})) or " "


def hash_password(password: str) -> str:
    """A cloud-init password as it is stored; one that is a hash already stays."""
    return password if re.match(r"\$\d\w?\$", password) else sha256_crypt(password)


def check_sshkeys(encoded: str) -> None:
    """Refuse what `ssh-keygen -l` finds no key in."""
    if not any(_is_key(line) for line in unquote(encoded).split("\n")):
        raise failure("SSH public key validation error")


def _is_key(line: str) -> bool:
    words = line.split()
    for kind, blob in pairwise(words):
        if not kind.startswith(KEY_TYPES):
            continue
        try:
            raw = base64.b64decode(blob + "=" * (-len(blob) % 4), validate=True)
        except ValueError:
            continue
        length = int.from_bytes(raw[:4], "big")
        if raw[4 : 4 + length] == kind.encode() and len(raw) > 4 + length:
            return True
    return False


def stored(name: str, value: object) -> str:
    """A verified parameter as the string that the configuration file holds.

    Raises:
        ApiError: 500, a value that PVE only refuses while it stores it.
    """
    text = str(value)
    if name == "cipassword":
        return hash_password(text)
    if name == "sshkeys":
        check_sshkeys(text)
        return text.strip()
    if name == "vmgenid" and text == "1":
        return str(uuid.uuid4())
    if name.startswith("net") and pve84.numbered(name):
        net = parse_net(text)
        if "bridge" not in net:
            raise failure("no sdn vnet ID specified")
        net.setdefault("macaddr", new_mac())
        return print_net(net)
    return text
