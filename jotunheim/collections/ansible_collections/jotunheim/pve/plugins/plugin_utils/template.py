"""A wanted template: what its values may be, which image file it is made from, and what is under its VMID now."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, NoReturn
from urllib.parse import SplitResult, urlsplit

from ansible_collections.jotunheim.pve.plugins.plugin_utils import clone, settle
from ansible_collections.jotunheim.pve.plugins.plugin_utils.disk import disk_sizes, same_size, system_disk
from ansible_collections.jotunheim.pve.plugins.plugin_utils.ownership import is_ours, template_checksum
from ansible_collections.jotunheim.pve.plugins.plugin_utils.vm import Config, Vm

from jotunheim.exceptions.model import DataValidationError, FieldProblem
from jotunheim.exceptions.repository import TemplateDiffersError, TemplateInUseError, VmidTakenError
from jotunheim.repositories.proxmox import api_path
from jotunheim.repositories.proxmox.reads import used_vmids

ALGORITHMS = {64: "sha256", 128: "sha512"}
"""By how many hexadecimal digits a checksum has."""

MIB = 1024 * 1024
_SMALLEST_MEMORY_BYTES = 16 * MIB
_LONGEST_URL = 2000

# Publishers call QEMU's own format `.img`, too; PVE takes only the other names for images to import.
_ENDINGS = {"img": "qcow2", "qcow2": "qcow2", "raw": "raw", "vmdk": "vmdk"}
_IMAGE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,200}\.(qcow2|raw|vmdk)")
_DNS_NAME = re.compile(r"(?=.{1,253}$)(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*")
_STORAGE = re.compile(r"[A-Za-z][A-Za-z0-9._-]*[A-Za-z0-9]")
_BRIDGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}")
_CHECKSUM = re.compile(r"[0-9a-f]{64}|[0-9a-f]{128}")
_URL = re.compile(r"https?://[!-~]+")

# What earlier runs may have begun on a template that is not finished, besides making or destroying it.
_OUR_TASKS = frozenset({"qmtemplate", "resize"})


@dataclass(frozen=True)
class Wanted:
    """A wanted template; see plugins/modules/template_build.py for the meaning of each field."""

    url: str
    checksum: str
    name: str
    storage: str
    bridge: str = "vmbr0"
    cores: int = 1
    memory_bytes: int = 1024 * MIB
    disk_bytes: int | None = None
    image_storage: str = "local"
    image_name: str | None = None
    keep_image: bool = True
    replace: bool = False
    timeout_seconds: int = 1800

    def check(self) -> None:
        """Raise DataValidationError, which names every field that no template can have."""
        problems = list(self._problems())
        if problems:
            raise DataValidationError(problems)

    @property
    def algorithm(self) -> str:
        """The checksum's, in PVE's word."""
        return ALGORITHMS[len(self.checksum)]

    @property
    def file_name(self) -> str:
        """What the image is called on the node.

        By default it has the checksum in it, so that tomorrow's `latest` is another file.
        """
        if self.image_name is not None:
            return self.image_name
        stem, ending = _split_name(self.url)
        return f"{stem[:100]}-{self.checksum[:12]}.{_ENDINGS[ending]}"

    @property
    def volid(self) -> str:
        """The image's volume."""
        return f"{self.image_storage}:import/{self.file_name}"

    def _problems(self) -> Iterator[FieldProblem]:
        yield from self._url_problems()
        if not _CHECKSUM.fullmatch(self.checksum):
            yield FieldProblem(
                "checksum", "must be the image's SHA-256 or SHA-512: 64 or 128 hexadecimal digits"
            )
        if self.image_name is not None and not _IMAGE_NAME.fullmatch(self.image_name):
            yield FieldProblem(
                "image_name",
                "must be letters, digits, '.', '_' and '-' that end in .qcow2, .raw or .vmdk",
            )
        if not _DNS_NAME.fullmatch(self.name):
            yield FieldProblem("name", "must be a DNS name")
        for field, value in (("storage", self.storage), ("image_storage", self.image_storage)):
            if not _STORAGE.fullmatch(value):
                yield FieldProblem(field, "is no name of a storage")
        if not _BRIDGE.fullmatch(self.bridge):
            yield FieldProblem("bridge", "is no name of a bridge")
        if self.cores < 1:
            yield FieldProblem("cores", "must be at least 1")
        if self.memory_bytes < _SMALLEST_MEMORY_BYTES or self.memory_bytes % MIB:
            yield FieldProblem("memory_bytes", f"must be a multiple of {MIB} (1 MiB), and at least 16 MiB")
        if self.disk_bytes is not None and (self.disk_bytes < MIB or self.disk_bytes % MIB):
            yield FieldProblem("disk_bytes", f"must be a multiple of {MIB} (1 MiB)")
        if self.timeout_seconds < 1:
            yield FieldProblem("timeout_seconds", "must be at least 1")

    def _url_problems(self) -> Iterator[FieldProblem]:
        """None of them quotes the URL: it may hold a secret."""
        parts = _split_url(self.url)
        if (
            parts is None
            or not parts.hostname
            or not _URL.fullmatch(self.url)
            or len(self.url) > _LONGEST_URL
        ):
            yield FieldProblem("url", "must be an http or https URL")
        elif "@" in parts.netloc:
            yield FieldProblem("url", "must not hold a user name or password: Proxmox VE logs it")
        elif parts.fragment:
            yield FieldProblem("url", "must not have a fragment (#)")
        elif self.image_name is None and _split_name(self.url)[1] not in _ENDINGS:
            endings = ", ".join(f".{ending}" for ending in _ENDINGS)
            yield FieldProblem("image_name", f"must be given for a URL whose file does not end in {endings}")


class Stage(Enum):
    """How far the template under the VMID is."""

    ABSENT = "absent"
    BEGUN = "begun"
    """Ours and of this image, and not a template yet."""
    OTHER = "other"
    """Ours, and to be destroyed first: of another image or size."""
    DONE = "done"


class Found(NamedTuple):
    """What is under the VMID; no configuration when that is nothing."""

    stage: Stage
    config: Config


def look(vm: Vm, wanted: Wanted) -> Found:
    """What is there, after waiting for what earlier runs have begun.

    Raises:
        VmidTakenError: the VMID belongs to a VM that is no template of ours.
        TemplateDiffersError: it is a template of ours of another image, and shall not be replaced.
    """
    config = clone.settled(vm, wanted.timeout_seconds)
    if config is None:
        if _is_elsewhere(vm):
            raise taken(vm, f"VMID {vm.vmid} belongs to a guest on another node, or to a container.")
        return Found(Stage.ABSENT, {})
    if not is_ours(config, vm.uuid):
        raise taken(
            vm, f"VMID {vm.vmid} belongs to a VM that is no template of Jotunheim's; it was not touched."
        )
    if not is_template(config):
        settle.wait_for_active(vm, {vm.vmid}, _OUR_TASKS, wanted.timeout_seconds)
        config = vm.owned_config()
    difference = _difference(config, wanted)
    if difference is None:
        return Found(Stage.DONE if is_template(config) else Stage.BEGUN, config)
    if not wanted.replace and not _was_never_finished(vm, config):
        refuse(vm, difference)
    return Found(Stage.OTHER, config)


def is_template(config: Config) -> bool:
    """Whether PVE calls the VM a template."""
    return str(config.get("template", "0")) == "1"


def taken(vm: Vm, message: str) -> VmidTakenError:
    """The error that says that the VMID is not free, with those that are not either."""
    return VmidTakenError(message, taken_vmids=used_vmids(vm.client) | {vm.vmid}, hint="Choose another VMID.")


def refuse(vm: Vm, difference: str) -> NoReturn:
    """Raise TemplateDiffersError."""
    raise TemplateDiffersError(
        f"VM {vm.vmid} on node {vm.node} is a template {difference}; it was not touched.",
        hint="Build the new one under another VMID, or let it be replaced (`replace`, in the role "
        "`pve_template_replace`), which destroys it first.",
    )


def shown_url(url: str) -> str:
    """The URL without its query, which may hold a signature."""
    parts = urlsplit(url)
    return parts._replace(query="********").geturl() if parts.query else url


def _difference(config: Config, wanted: Wanted) -> str | None:
    """What keeps a VM of ours from being the wanted template, or from becoming it; None: nothing."""
    made_of = template_checksum(config)
    if made_of != wanted.checksum:
        return f"of the image {made_of}, not {wanted.checksum}" if made_of else "whose notes name no image"
    if wanted.disk_bytes is not None:
        size = disk_sizes(config)[system_disk(config)]
        may_grow = not is_template(config) and size < wanted.disk_bytes
        if not may_grow and not same_size(size, wanted.disk_bytes):
            return f"whose disk has {size} bytes, not {wanted.disk_bytes}"
    return None


def _is_elsewhere(vm: Vm) -> bool:
    """Whether the cluster lists a guest under the VMID that is no VM of this node. One of this node may be gone already."""
    return any(
        int(guest["vmid"]) == vm.vmid and (guest.get("node") != vm.node or guest.get("type") == "lxc")
        for guest in vm.client.get("cluster/resources", type="vm")
    )


def _was_never_finished(vm: Vm, config: Config) -> bool:
    """Whether this is what an interrupted run left: nobody has worked in it, and nothing is linked to it."""
    if is_template(config) or "/base-" in str(config.get(system_disk(config))).replace(":", "/"):
        return False
    return str(vm.status()["status"]) == "stopped"


def check_unlinked(vm: Vm, config: Config) -> None:
    """Raise TemplateInUseError when disks are linked to the template's, as far as the token sees them.

    Proxmox VE refuses to destroy such a template, too, but not before it is asked to.
    """
    for device in disk_sizes(config):
        volume = str(config[device]).partition(",")[0]
        storage, _, name = volume.partition(":")
        listed = vm.client.get(api_path("nodes", vm.node, "storage", storage, "content"), content="images")
        base = name.rpartition("/")[2]
        users = {
            int(entry.get("vmid", 0))
            for entry in listed
            if str(entry.get("parent") or "").rpartition("/")[2].partition("@")[0] == base
        }
        if users:
            names = ", ".join(str(vmid) for vmid in sorted(users))
            raise in_use(vm, f"its disk {volume} is in use by linked clones (VMs {names})")


def in_use(vm: Vm, why: str) -> TemplateInUseError:
    """The error that says that a template has to stay."""
    return TemplateInUseError(
        f"VM {vm.vmid} on node {vm.node} cannot be replaced: {why}.",
        hint="Build the new template under another VMID. This one can go when the last of its linked clones has gone.",
    )


def _split_url(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises for one that is no number
    except ValueError:
        return None
    return parts


def _split_name(url: str) -> tuple[str, str]:
    """The file's name in a URL, made safe, and its ending in lower case."""
    file = urlsplit(url).path.rpartition("/")[2]
    stem, _, ending = file.rpartition(".")
    return re.sub(r"[^A-Za-z0-9_.-]", "_", stem).lstrip("_.-") or "image", ending.lower()
