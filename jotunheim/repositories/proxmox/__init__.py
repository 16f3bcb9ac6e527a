"""Proxmox VE over HTTPS: sessions, reads, task polling and typed errors.

Owns the protocol. What is changed and when is decided by the collection's action plugins; whether a
VM is wanted at all is decided by services. proxmoxer is imported here and nowhere else.
"""

from jotunheim.repositories.proxmox.client import ProxmoxClient, api_path
from jotunheim.repositories.proxmox.endpoint import Endpoint, TlsPolicy
from jotunheim.repositories.proxmox.tasks import TaskJournal

__all__ = ["Endpoint", "ProxmoxClient", "TaskJournal", "TlsPolicy", "api_path"]
