"""What a VM's configuration says, in our units: for VMs that somebody else has made. Pure functions."""

import re
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

MARK = "jotunheim:server="
"""What the first line of the description of a server's VM begins with; its UUID follows."""
BACKUP_MARK = "jotunheim:backup="
"""The same of a backup's notes; the backup's id follows."""
_MIB = 1024 * 1024
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)([KMGT]?)")
_DRIVE = re.compile(r"(scsi|virtio|sata|ide)\d+")
_MODELS = ("virtio", "e1000", "e1000e", "rtl8139", "vmxnet3")
_DEFAULT_MEMORY = "512"


@dataclass(frozen=True)
class Configuration:
    """A VM's settings, as far as a server's record has them.

    Attributes:
        smbios_uuid: in lower case; "": it has none.
        mark: the UUID, or whatever stands there, of the server that the VM is marked for.
        cores: over all sockets.
        disk_bytes: of the disk that it boots from; None: its configuration does not say.
        description: the text below the mark.
        network: of the first network device, in the words of a `NetworkChange`.
        addresses: static ones for cloud-init, the first interface's first.
        image: the ISO image in its first CD-ROM drive that has one.
    """

    name: str | None
    template: bool
    lock: str | None
    smbios_uuid: str
    mark: str | None
    cores: int
    memory_bytes: int
    disk_bytes: int | None
    tags: list[str]
    description: str
    agent: bool
    network: dict[str, Any]
    user: str | None
    ssh_keys: list[str]
    nameservers: list[str]
    search_domain: str | None
    addresses: list[str]
    image: str | None

    @property
    def uuid(self) -> uuid.UUID | None:
        """Its SMBIOS UUID, when that is one and tells the VM from others."""
        try:
            found = uuid.UUID(self.smbios_uuid)
        except ValueError:
            return None
        return found if found.int not in (0, 2**128 - 1) else None


def scratch_uuid(server_id: uuid.UUID) -> uuid.UUID:
    """The UUID of the VM in which a rebuild of a server prepares the new disk: never the server's own."""
    return uuid.uuid5(server_id, "jotunheim:rebuild")


def archived_config(text: str) -> dict[str, Any]:
    """The configuration in a backup, from the text of PVE's file; without snapshots.

    Description lines are comments, in which PVE encodes colons and what is not ASCII.
    """
    config: dict[str, Any] = {}
    notes = []
    for line in text.splitlines():
        if line.startswith("["):
            break
        if line.startswith("#"):
            notes.append(unquote(line[1:]))
        else:
            key, colon, value = line.partition(":")
            if colon:
                config[key.strip()] = value.strip()
    return config | {"description": "\n".join(notes)}


def parse(config: Mapping[str, Any]) -> Configuration:
    """What the answer of `GET …/config`, or the configuration in a backup, says."""
    description = str(config.get("description", "")).rstrip()
    first, *rest = description.split("\n")
    marked = first.startswith(MARK)
    return Configuration(
        name=config.get("name"),
        template=bool(int(config.get("template", 0))),
        lock=config.get("lock"),
        smbios_uuid=_options(config.get("smbios1")).get("uuid", "").lower(),
        mark=first.removeprefix(MARK).strip().lower() if marked else None,
        cores=int(config.get("cores", 1)) * int(config.get("sockets", 1)),
        memory_bytes=int(_options(config.get("memory", _DEFAULT_MEMORY), "current")["current"]) * _MIB,
        disk_bytes=_system_disk_bytes(config),
        tags=[tag for tag in re.split(r"[;, ]", str(config.get("tags", ""))) if tag],
        description="\n".join(rest) if marked else description,
        agent=_options(config.get("agent", "0"), "enabled").get("enabled") == "1",
        network=_network(_options(config.get("net0"))),
        user=config.get("ciuser"),
        ssh_keys=[
            line.strip() for line in unquote(str(config.get("sshkeys", ""))).splitlines() if line.strip()
        ],
        nameservers=[word for word in re.split(r"[, ]", str(config.get("nameserver", ""))) if word],
        search_domain=config.get("searchdomain"),
        addresses=list(_addresses(config)),
        image=next(iter(_images(config)), None),
    )


def _options(text: object, default_key: str = "") -> dict[str, str]:
    """A property string: ``virtio=BC:24:11:00:00:41,bridge=vmbr0``."""
    found = {}
    for word in str(text or "").split(","):
        key, equals, value = word.strip().partition("=")
        found.update({key: value} if equals else {default_key: key} if key and default_key else {})
    return found


def _system_disk_bytes(config: Mapping[str, Any]) -> int | None:
    sizes = dict(_disks(config))
    order = _options(config.get("boot")).get("order", "").split(";")
    for device in [*order, str(config.get("bootdisk", ""))]:
        if device in sizes:
            return sizes[device]
    return next(iter(sizes.values())) if len(sizes) == 1 else None


def _disks(config: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    for key, value in config.items():
        options = _options(value) if _DRIVE.fullmatch(key) else {}
        size = _SIZE.fullmatch(options.get("size", ""))
        if size and options.get("media") != "cdrom":
            yield key, int(float(size[1]) * _UNITS[size[2]])


def _network(device: Mapping[str, str]) -> dict[str, Any]:
    model = device.get("model") or next((name for name in _MODELS if name in device), None)
    found = {
        "model": model if model in _MODELS else None,
        "bridge": device.get("bridge"),
        "vlan": int(device["tag"]) if "tag" in device else None,
        "mtu": int(device["mtu"]) if "mtu" in device else None,
        "rate_bytes_per_second": round(float(device["rate"]) * _MIB) if "rate" in device else None,
        "firewall": device["firewall"] == "1" if "firewall" in device else None,
    }
    return {name: value for name, value in found.items() if value is not None}


def _addresses(config: Mapping[str, Any]) -> Iterator[str]:
    keys = [key for key in config if re.fullmatch(r"ipconfig\d+", key)]
    for key in sorted(keys, key=lambda key: int(key.removeprefix("ipconfig"))):
        options = _options(config[key])
        for name in ("ip", "ip6"):
            address, slash, _ = options.get(name, "").partition("/")
            if slash:
                yield address


def _images(config: Mapping[str, Any]) -> Iterator[str]:
    for key in sorted(config):
        options = _options(config[key], "file") if _DRIVE.fullmatch(key) else {}
        if options.get("media") == "cdrom" and ":iso/" in options.get("file", ""):
            yield options["file"]
