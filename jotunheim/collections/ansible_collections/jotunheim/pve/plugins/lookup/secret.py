"""Lookup plugin: a secret by its name, so that inventories and artefacts hold only the name."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase

from jotunheim.exceptions import JotunheimError

DOCUMENTATION = """
name: secret
author:
  - The Jotunheim developers
short_description: Read a secret from Jotunheim's encrypted store
description:
  - Reads a secret at the moment of use, from the store that C(JOTUNHEIM_DATABASE_URL) names, with the key
    of C(JOTUNHEIM_SECRET_KEY) or C(JOTUNHEIM_SECRET_KEY_FILE).
  - The value is not a template, whatever it contains.
options:
  _terms:
    description: Names of secrets, for example C(node/3/token).
    type: list
    elements: str
    required: true
"""

EXAMPLES = """
# In an inventory: the name of the secret, never its value.
servers:
  vars:
    pve_api_token_secret: "{{ lookup('jotunheim.pve.secret', 'node/3/token') }}"
"""

RETURN = """
_raw:
  description: The secrets.
  type: list
  elements: str
"""


class LookupModule(LookupBase):  # type: ignore[misc]  # ansible publishes no types
    """`lookup('jotunheim.pve.secret', NAME)`."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[str]:
        """The values in the order of their names."""
        self.set_options(var_options=variables, direct=kwargs)
        # Imported late: an inventory that takes its secrets from elsewhere needs no database.
        from jotunheim.repositories.peewee.secrets import read_secret

        try:
            return [str(read_secret(str(term))) for term in terms]
        except JotunheimError as error:
            raise AnsibleLookupError(f"{error.message} {error.hint or ''}".strip()) from error
