"""Documentation that all plugins of the collection share."""

from __future__ import annotations


class ModuleDocFragment:
    """`extends_documentation_fragment: jotunheim.pve.connection`."""

    DOCUMENTATION = """
author:
  - The Jotunheim developers
attributes:
  action:
    support: full
    description: Runs in the controller. Nothing connects to the guest.
  check_mode:
    support: full
    description: Changes nothing, and reports what the real run would change.
  diff_mode:
    support: full
    description: Shows values before and after, by key and only where they differ. Secrets are masked.
notes:
  - The VM and the way to it are read from B(variables) of the host, not from options, because options are
    printed in events, logs and artefacts. C(pve_api_host), C(pve_api_token_id) in the form
    C(user@realm!name), C(pve_api_token_secret), C(pve_node) (the name of the node in Proxmox VE),
    C(pve_vmid) and C(pve_uuid) (the UUID of the server that the VM must carry) are required.
    C(pve_api_port) (8006), C(pve_api_connect_timeout_seconds) (5) and C(pve_api_read_timeout_seconds) (30)
    have defaults.
  - The certificate of the node is always verified. With C(pve_api_fingerprint) (SHA-256) it must be exactly
    that certificate; with C(pve_api_ca_pem) it must be signed by one of these authorities (PEM); with
    neither, by an authority of the system.
  - A VM belongs to the server when C(pve_uuid) is its SMBIOS UUID or stands in the first line of its notes
    as C(jotunheim:server=<uuid>). Any other VM is refused with the code C(vm_not_ours) and not touched. With C(pve_identified)
    (false) the notes are not enough.
  - A failure is a result with C(error.code), C(error.message), C(error.retryable) and C(error.hint).
"""
