"""What secrets are called outside of the store. Free of the store itself, which runs by hand may do without."""

import re


def variable_of(name: str) -> str:
    """The environment variable that gives a secret to a run by hand: `PVE_SECRET_NODE_3_TOKEN`."""
    return "PVE_SECRET_" + re.sub(r"[^A-Z0-9]", "_", name.upper())
