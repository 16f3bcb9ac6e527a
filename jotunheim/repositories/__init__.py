"""Where data is kept: `peewee` for our own records, `proxmox` for what the hypervisor knows."""
