"""Cases that are lost and not mended yet, with the reason; whoever mends one takes it out."""

KNOWN: dict[tuple[str, str, str], str] = {
    ("fault", "rebuild", "task fails late 28 POST /nodes/pve1/qemu/1002/move_disk"): (
        "the way back discards the new disk, so the retry clones a second time; nothing is left of the first"
    ),
}
"""By matrix, case and what it met, with the request after a space in the last: why it is not mended."""
