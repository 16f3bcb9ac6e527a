"""Documentation of the action plugin plugins/action/vm_restart.py; there is no module to send to a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_restart
version_added: 0.1.0
short_description: Restart the VM of this host if changes wait for it
description:
  - Finds out which settings a running VM does not have yet, and restarts it for them if that is wanted.
    A stopped VM waits for nothing and is never started.
  - The restart is a reboot by Proxmox VE, which asks the guest to shut down and applies pending changes.
  - Proxmox VE tells for most cloud-init settings whether the drive of a running VM has them. It does not
    tell it of the host name (C(name)), of addresses (C(ipconfigN)) and of new network devices. These are
    known only within the play whose earlier task changed them, and to later attempts of the same job of Jotunheim.
  - In check mode it predicts from what earlier tasks of the play would have written. Proxmox VE changes
    these keys in a running VM at once - C(affinity), C(balloon), C(cpulimit), C(cpuunits), C(description),
    C(hookscript), C(hotplug), C(migrate_downtime), C(migrate_speed), C(name), C(onboot), C(protection),
    C(shares), C(startup), C(tags), C(vmstatestorage) and all of cloud-init (which the guest sees at its
    next start); C(netN) with the hotplug feature C(network); new and removed C(scsiN) and C(virtioN) with
    the feature C(disk), every grown disk, and another
    medium in a CD-ROM drive; C(memory) and C(vcpus) with the features C(memory) and
    C(cpu). Without a setting the features are C(network), C(disk) and C(usb). All other keys wait.
  - Run by Jotunheim, a restart that an earlier attempt of the same job made is not repeated, also when the answer
    to it was lost. V(restarted) tells of it.
options:
  restart:
    description: V(if_needed) restarts the VM when something waits; V(never) only says what waits.
    type: str
    choices: [never, if_needed]
    default: never
  timeout_seconds:
    description: What the guest gets to shut down, in seconds.
    type: int
    default: 120
  force:
    description: Stop and start the VM when the guest did not shut down in time. Otherwise the task fails with the code C(shutdown_timeout).
    type: bool
    default: false
extends_documentation_fragment:
  - jotunheim.pve.connection
"""

EXAMPLES = r"""
- name: Restart for a change of memory
  jotunheim.pve.vm_restart:
    restart: if_needed
"""

RETURN = r"""
waiting:
  description: >-
    What still waits afterwards, by configuration key. V(pending) is held back by Proxmox VE until a
    restart, V(needs_restart) is in the configuration and reaches the guest with a restart.
  returned: success
  type: dict
  sample:
    memory: pending
    nameserver: needs_restart
restarted:
  description: Whether the VM was restarted, in check mode whether it would be.
  returned: success
  type: bool
upids:
  description: Proxmox VE's ids of the tasks that were started or taken over.
  returned: when there were any
  type: list
  elements: str
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
