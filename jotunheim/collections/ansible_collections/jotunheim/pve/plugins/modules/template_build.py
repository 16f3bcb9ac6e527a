"""Documentation of the action plugin plugins/action/template_build.py; there is no module to send to a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: template_build
version_added: 0.1.0
short_description: Build a template from a cloud image
description:
  - Makes the VM C(pve_vmid) on C(pve_node) from a cloud image that the node fetches itself, with a cloud-init drive, a
    serial console, the guest agent switched on, one network device and a VirtIO SCSI disk, and turns it into a template.
  - There are three phases. Each can be interrupted at any moment and run again, and there is never more than one download
    of the same file and one template. Nothing happens when the template is there.
  - A VM that is no template of ours fails the task with the code C(vmid_taken), and a template of ours of another image
    or disk size with the code C(template_differs), unless O(replace) is set.
options:
  phase:
    description:
      - V(fetch) lets the node download the image, unless the template is there. A file of that name is compared with the
        checksum, not fetched again. A download that an interrupted run has begun is waited for.
      - V(make) makes the VM, lets its disk grow, and converts it. In a finished template it sets name, processors, memory
        and bridge, if they differ.
      - V(clean) removes the image, if O(keep_image) is false.
    type: str
    required: true
    choices: [fetch, make, clean]
  url:
    description:
      - Where the image is, with http or https. Proxmox VE logs it, so a user name and password are refused; a query is masked in
        results.
    type: str
    required: true
  checksum:
    description: SHA-256 (64 hexadecimal digits) or SHA-512 (128) of the image, as its publisher states it.
    type: str
    required: true
  name:
    description: Name of the template, a DNS name.
    type: str
    required: true
  storage:
    description: Storage for the disk and the cloud-init drive.
    type: str
    required: true
  bridge:
    description: Bridge of the network device.
    type: str
    default: vmbr0
  cores:
    description: Number of processor cores.
    type: int
    default: 1
  memory_bytes:
    description: Memory in bytes, a multiple of 1 MiB.
    type: int
    default: 1073741824
  disk_bytes:
    description: Size of the disk in bytes, a multiple of 1 MiB. Default is the size that the image has.
    type: int
  image_storage:
    description: Storage for the image, with the content type C(import).
    type: str
    default: local
  image_name:
    description:
      - Name of the image on that storage, which ends in C(.qcow2), C(.raw) or C(.vmdk), the format that the image has.
      - Default is the name in the URL with the beginning of the checksum; an C(.img) becomes a C(.qcow2).
    type: str
  keep_image:
    description: Leave the image on its storage.
    type: bool
    default: true
  replace:
    description:
      - Destroy a template of ours of another image or disk size, and build the wanted one. When linked clones
        depend on it, nothing is changed, and the task fails with the code C(template_in_use).
    type: bool
    default: false
  timeout_seconds:
    description: How long to wait for each task of Proxmox VE, the download among them, in seconds.
    type: int
    default: 1800
extends_documentation_fragment:
  - jotunheim.pve.template
"""

EXAMPLES = r"""
- name: Fetch the image
  jotunheim.pve.template_build:
    phase: fetch
    url: https://cloud.debian.org/images/cloud/bookworm/latest/debian-12-genericcloud-amd64.qcow2
    checksum: "{{ debian_12_sha512 }}"
    name: debian-12
    storage: local-lvm
"""

RETURN = r"""
image:
  description: Volume of the image, whether it is there or not.
  returned: success
  type: str
upids:
  description: Proxmox VE's ids of the tasks that were started or taken over.
  returned: when there were any
  type: list
  elements: str
taken_vmids:
  description: All VMIDs that the token can see in the cluster.
  returned: on C(vmid_taken)
  type: list
  elements: int
error:
  description: What went wrong.
  returned: failure
  type: dict
  contains:
    code:
      description: Stable identifier, for example V(vm_locked).
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
