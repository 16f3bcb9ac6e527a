"""Where a server goes: its node and its VMID."""
