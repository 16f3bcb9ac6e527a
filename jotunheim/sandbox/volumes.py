"""Volumes and the space they take: the storage layer below disks, backups and ISO images."""

import re
import time
from collections.abc import Iterable, Iterator

from jotunheim.sandbox import pbs
from jotunheim.sandbox.errors import bad_params, failure
from jotunheim.sandbox.state import State, Storage, Volume

FOLDERS = {
    "iso": "template/iso",
    "vztmpl": "template/cache",
    "backup": "dump",
    "import": "import",
    "snippets": "snippets",
}
LINKED_BYTES = 200_704
"""What a linked clone's image takes before anything is written to it."""


FILE_NAMES = (
    ("iso", r"iso/[^/]+\.(iso|img)"),
    ("vztmpl", r"vztmpl/[^/]+\.tar\.(gz|xz|zst|bz2)"),
    ("rootdir", r"rootdir/(?P<owner>\d+)"),
    ("backup", r"backup/(vzdump-(openvz|lxc|qemu)-(?P<owner>\d+)-)?[^/]+\.(tgz|(tar|vma)(\.(gz|lzo|zst))?)"),
    ("snippets", r"snippets/[^/]+"),
    ("import", r"import/[^/]+\.(ova|ovf|qcow2|raw|vmdk)"),
)
"""Content types whose volumes are files in a folder of their own, and how those are called."""


def parse_volname(name: str) -> tuple[str, int | None]:
    """Content type and owner of a volume of a directory storage, by its name without the storage.

    Raises:
        ApiError: 500, no volume of a directory storage can be called so.
    """
    image = re.fullmatch(r"(?:\d+/(\S+)/)?(\d+)/(\S+)", name)
    if image:
        for file in (image[1], image[3]):
            if file is not None and not re.fullmatch(r"[^/\s]+\.(raw|qcow2|vmdk|subvol)", file):
                raise failure(f"unable to parse volume filename '{file}'")
        return "images", int(image[2])
    for content, pattern in FILE_NAMES:
        found = re.fullmatch(pattern, name)
        if found:
            owner = found.groupdict().get("owner")
            return content, int(owner) if owner else None
    raise failure(f"unable to parse directory volume name '{name}'")


class Volumes:
    """All volumes of the cluster, indexed by owner; keeps count of the used space.

    While the sandbox runs, this index is the truth; `export` gives the list back to the state.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._by_id: dict[tuple[str, str], Volume] = {}
        self._by_owner: dict[int, dict[tuple[str, str], Volume]] = {}
        self._used: dict[tuple[str, str], int] = {}
        for volume in state.volumes:
            self._index(volume)

    def storage(self, name: str) -> Storage:
        """The storage of a name, or PVE's error."""
        found = self._state.storages.get(name)
        if found is None:
            raise failure(f"storage '{name}' does not exist")
        return found

    def image_storage(self, name: str) -> Storage:
        """The storage of a name if it can hold disks."""
        found = self.storage(name)
        if "images" not in found.content:
            raise bad_params(storage=f"storage '{name}' does not support vm images")
        return found

    def parse(self, volid: str) -> tuple[str, int | None]:
        """Content type and owner of a volume by its id, as its storage names volumes, or PVE's error."""
        storage, _, name = volid.partition(":")
        return (pbs.parse_volname if self.storage(storage).pbs else parse_volname)(name)

    def find(self, node: str, volid: str) -> Volume | None:
        """The volume of an id, as seen from a node."""
        return self._by_id.get((node, volid)) or self._by_id.get(("", volid))

    def __iter__(self) -> Iterator[Volume]:
        return iter(self._by_id.values())

    def of_vm(self, vmid: int) -> list[Volume]:
        """The volumes that belong to a VMID, on any storage."""
        return list(self._by_owner.get(vmid, {}).values())

    def children(self, volume: Volume) -> list[Volume]:
        """The linked clones of a base image."""
        return [other for other in self if other.parent == volume.volid and other.node == volume.node]

    def content(self, volume: Volume) -> int:
        """Bytes that a full copy of a volume takes: a linked clone's include those of its base."""
        base = self.find(volume.node, volume.parent) if volume.parent else None
        return volume.used + (self.content(base) if base else 0)

    def files(self, volume: Volume) -> str | None:
        """The files on a volume, with guests: its own, or those of its base."""
        if volume.files or not volume.parent:
            return volume.files
        base = self.find(volume.node, volume.parent)
        return self.files(base) if base else None

    def used(self, storage: Storage, node: str) -> int:
        """Bytes taken on a storage as seen from a node."""
        return storage.other_used + self._used.get((storage.name, "" if storage.shared else node), 0)

    def available(self, storage: Storage, node: str) -> int:
        """Free bytes on a storage as seen from a node."""
        return max(0, storage.total - self.used(storage, node))

    def fits(self, storage: Storage, node: str, size: int) -> bool:
        """Whether `size` more bytes fit."""
        return size <= self.available(storage, node)

    def free_name(self, node: str, storage: str, vmid: int, stem: str, suffix: str) -> str:
        """The first free disk name of a VM: `vm-100-disk-N.qcow2`."""
        number = 0
        taken = {
            match[1]
            for volume in self.of_vm(vmid)
            if volume.volid.startswith(f"{storage}:")
            and volume.node in ("", node)
            and (match := re.search(rf"{stem}-(\d+)[.a-z0-9]*$", volume.volid))
        }
        while str(number) in taken:
            number += 1
        return f"{stem}-{number}{suffix}"

    def create(
        self,
        node: str,
        volid: str,
        *,
        vmid: int | None,
        size: int,
        used: int,
        kind: str = "images",
        format: str = "qcow2",  # noqa: A002 - PVE's word, and the field's name
        parent: str | None = None,
    ) -> Volume:
        """Allocate a volume on a node's (or a shared) storage."""
        storage = self.storage(volid.partition(":")[0])
        place = "" if storage.shared else node
        volume = Volume(volid, place, kind, format, size, used, time.time(), vmid, parent)
        self._index(volume)
        return volume

    def remove(self, volume: Volume) -> None:
        """Forget a volume and give its space back."""
        key = (volume.node, volume.volid)
        if self._by_id.pop(key, None) is None:
            return
        if volume.vmid is not None:
            self._by_owner[volume.vmid].pop(key, None)
        self._used[self._place(volume)] -= volume.used

    def rename(self, volume: Volume, volid: str, vmid: int) -> None:
        """Give a volume another name and owner."""
        self.remove(volume)
        volume.volid, volume.vmid = volid, vmid
        self._index(volume)

    def move(self, volume: Volume, node: str) -> None:
        """Bring a volume to the storage of the same name on another node."""
        self.remove(volume)
        volume.node = node
        self._index(volume)

    def resize(self, volume: Volume, *, size: int | None = None, used: int | None = None) -> None:
        """Change a volume's size, or the space that it takes."""
        if size is not None:
            volume.size = size
        if used is not None:
            self._used[self._place(volume)] += used - volume.used
            volume.used = used

    def export(self) -> list[Volume]:
        """All volumes, for a dump of the state."""
        return list(self._by_id.values())

    def path(self, volid: str) -> str:
        """The file of a volume on a storage of files; of a Proxmox Backup Server, the URL that PVE makes up."""
        name, _, rest = volid.partition(":")
        storage = self.storage(name)
        if storage.pbs:
            return f"pbs://{pbs.repository(name)}/{pbs.snapshot_of(volid)}"
        base = storage.path
        folder, _, file = rest.partition("/")
        if folder in FOLDERS:
            return f"{base}/{FOLDERS[folder]}/{file}"
        return f"{base}/images/{'/'.join(rest.split('/')[-2:])}"

    def _index(self, volume: Volume) -> None:
        key = (volume.node, volume.volid)
        self._by_id[key] = volume
        if volume.vmid is not None:
            self._by_owner.setdefault(volume.vmid, {})[key] = volume
        place = self._place(volume)
        self._used[place] = self._used.get(place, 0) + volume.used

    def _place(self, volume: Volume) -> tuple[str, str]:
        return volume.volid.partition(":")[0], volume.node


def with_content(volumes: Iterable[Volume], content: str | None, vmid: int | None) -> list[Volume]:
    """The volumes of a content type and owner."""
    return [
        volume
        for volume in volumes
        if (content is None or volume.content == content) and (vmid is None or volume.vmid == vmid)
    ]
