"""Where playbooks, roles and the collection are: in a checkout, or in an installed wheel."""

from pathlib import Path

import jotunheim

_PACKAGE = Path(jotunheim.__file__).parent
_SHARE = _PACKAGE / "share"

CONTENT = _SHARE if _SHARE.exists() else _PACKAGE.parent
"""The folder that holds `playbooks/`, `roles/` and `inventory/`."""
PLAYBOOKS = CONTENT / "playbooks"
ROLES = CONTENT / "roles"
COLLECTIONS = _PACKAGE / "collections"
CALLBACKS = _PACKAGE / "ansible" / "callbacks"
"""Callback plugins of the service; runs by hand do not use them."""
STRATEGIES = _PACKAGE / "ansible" / "strategies"
"""Its strategy plugin, likewise."""


def environment() -> dict[str, str]:
    """What `ansible-playbook` must be told to find roles and the collection, by hand as well as here."""
    return {"ANSIBLE_ROLES_PATH": str(ROLES), "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS)}
