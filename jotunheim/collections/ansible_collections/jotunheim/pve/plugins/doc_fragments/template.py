"""Documentation of the plugins that build templates, which belong to no server."""

from __future__ import annotations


class ModuleDocFragment:
    """`extends_documentation_fragment: jotunheim.pve.template`."""

    DOCUMENTATION = """
author:
  - The Jotunheim developers
attributes:
  action:
    support: full
    description: Runs in the controller. Nothing connects to a guest.
  check_mode:
    support: full
    description: Changes nothing, and reports what the real run would change.
  diff_mode:
    support: full
    description: Shows values before and after, by key and only where they differ.
notes:
  - The node and the way to it are read from B(variables) of the host, not from options, because options are
    printed in events, logs and artefacts. C(pve_api_host), C(pve_api_token_id) in the form
    C(user@realm!name), C(pve_api_token_secret), C(pve_node) (the name of the node in Proxmox VE) and
    C(pve_vmid) (the VMID of the template) are required. C(pve_api_port) (8006),
    C(pve_api_connect_timeout_seconds) (5) and C(pve_api_read_timeout_seconds) (30) have defaults.
  - The certificate of the node is always verified. With C(pve_api_fingerprint) (SHA-256) it must be exactly
    that certificate; with C(pve_api_ca_pem) it must be signed by one of these authorities (PEM); with
    neither, by an authority of the system.
  - A VM is a template of ours when its SMBIOS UUID is the one that follows from its VMID; the first line of its
    notes, C(jotunheim:template=<checksum>), says by which image. Every other VM under the VMID, a clone of ours too, is
    refused with the code C(vmid_taken) and not touched.
  - A failure is a result with C(error.code), C(error.message), C(error.retryable) and C(error.hint).
"""
