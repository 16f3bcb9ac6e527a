"""How a node is chosen among several that could take a server."""

from enum import StrEnum


class PlacementPolicy(StrEnum):
    """What is preferred."""

    SPREAD = "spread"
    """The emptiest node."""
    PACK = "pack"
    """The fullest node that still has room."""
