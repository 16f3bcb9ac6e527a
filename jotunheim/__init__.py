"""Jotunheim: Ansible-backed automation for virtual machines on Proxmox VE."""

__version__ = "0.1.0"
