"""What we decide now: each function is one short transaction, or a read.

Services never wait for Proxmox to finish something. They record what shall be; jobs make it so.
"""
