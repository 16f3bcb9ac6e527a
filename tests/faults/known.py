"""Cases that are lost and not mended yet, with the reason; whoever mends one takes it out."""

_SECOND_CLONE = (
    "the way back discards the new disk, so the retry clones a second time; nothing is left of the first"
)

KNOWN: dict[tuple[str, str, str], str] = {
    ("fault", "rebuild", met): _SECOND_CLONE
    for met in (
        "task fails late 28 POST /nodes/pve1/qemu/1002/move_disk",
        "403 29 GET /nodes/pve1/tasks/UPID:pve1:…:qmmove:1002-scsi0>1000-scsi0/status",
        "403 30 GET /nodes/pve1/qemu/1000/config",
        "403 31 PUT /nodes/pve1/qemu/1000/config",
        "500, lock timeout 31 PUT /nodes/pve1/qemu/1000/config",
    )
}
"""By matrix, case and what it met, with the request after a space in the last: why it is not mended."""
