"""The state that a new sandbox begins with.

The same as the recordings of PVE were made in: a node, the storages `local` and `vmstore`, the Debian
template 9000 and the bridge vmbr0.
"""

import secrets
import time
import uuid
from collections.abc import Sequence

from jotunheim.sandbox.state import Acl, Node, State, Storage, Token, User, Vm, Volume

TEMPLATE_VMID = 9000
USER = "root@pam"
TOKEN_NAME = "jotunheim"  # noqa: S105 - the name of a token, not its secret


def initial_state(nodes: int = 1, pbs: Sequence[str] = ()) -> State:
    """A cluster of `nodes` nodes; each has its own `local` and `vmstore`, pve1 has the template.

    Several nodes share one more storage, `shared`. `pbs` names datastores of a Proxmox Backup Server, which all
    nodes share.
    """
    now = time.time()
    names = [f"pve{n}" for n in range(1, nodes + 1)]
    state = State(
        nodes={name: Node(name, f"10.99.0.{n}") for n, name in enumerate(names, 1)},
        storages={
            "local": Storage("local", "/var/lib/vz", ["import", "iso", "snippets", "vztmpl", "backup"]),
            "vmstore": Storage("vmstore", "/srv/vmstore", ["rootdir", "images"]),
        },
        users={
            USER: User(
                USER,
                password=secrets.token_urlsafe(12),
                tokens={TOKEN_NAME: Token(str(uuid.uuid4()), privsep=False)},
            ),
            "admin@pve": User("admin@pve"),
        },
        acl=[Acl("/", "user", "admin@pve", "Administrator")],
    )
    if nodes > 1:
        state.storages["shared"] = Storage(
            "shared", "/mnt/pve/shared", ["images", "rootdir", "iso", "backup"], kind="nfs", shared=True
        )
    for name in pbs:
        state.storages[name] = Storage(name, "", ["backup"], kind="pbs", shared=True)
    state.vms[TEMPLATE_VMID] = Vm(TEMPLATE_VMID, names[0], _template_config(now), created=now - 3600)
    state.volumes = [
        Volume(
            "vmstore:9000/base-9000-disk-0.qcow2",
            names[0],
            "images",
            "qcow2",
            size=2 * 1024**3,
            used=1_350_565_888,
            ctime=now,
            vmid=TEMPLATE_VMID,
        ),
        Volume(
            "vmstore:9000/vm-9000-cloudinit.qcow2",
            names[0],
            "images",
            "qcow2",
            size=4 * 1024**2,
            used=397_312,
            ctime=now,
            vmid=TEMPLATE_VMID,
        ),
    ]
    state.volumes += [
        Volume(
            "local:import/debian-12-genericcloud-local.qcow2",
            name,
            "import",
            "qcow2",
            size=252_772_352,
            used=252_772_352,
            virtual_size=3 * 1024**3,
            ctime=now,
        )
        for name in names
    ]
    return state


def _template_config(now: float) -> dict[str, str]:
    return {
        "agent": "1",
        "boot": "order=scsi0",
        "ciupgrade": "0",
        "ciuser": "debian",
        "cores": "1",
        "description": "Debian 12, cloud-init, openssh-server, qemu-guest-agent (built with debootstrap)",
        "ide2": "vmstore:9000/vm-9000-cloudinit.qcow2,media=cdrom",
        "memory": "1024",
        "meta": f"creation-qemu=10.0.2,ctime={int(now)}",
        "name": "debian12-cloud",
        "net0": "virtio=BC:24:11:B9:0F:88,bridge=vmbr0",
        "ostype": "l26",
        "scsi0": "vmstore:9000/base-9000-disk-0.qcow2,size=2G",
        "scsihw": "virtio-scsi-pci",
        "serial0": "socket",
        "smbios1": f"uuid={uuid.uuid4()}",
        "tags": "debian;template",
        "template": "1",
        "vga": "std",
        "vmgenid": str(uuid.uuid4()),
    }
