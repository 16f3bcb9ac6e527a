"""Cases that are lost and not mended yet, with the reason; whoever mends one takes it out."""

KNOWN: dict[tuple[str, str, str], str] = {}
"""By matrix, case and what it met, with the request after a space in the last: why it is not mended."""
