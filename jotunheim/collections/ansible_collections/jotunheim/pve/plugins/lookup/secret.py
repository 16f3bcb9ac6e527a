"""Lookup plugin: a secret by its name, so that inventories and artefacts hold only the name."""

from __future__ import annotations

import os
from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible.utils.display import Display

from jotunheim.exceptions import JotunheimError
from jotunheim.repositories.peewee.secret_names import variable_of

DOCUMENTATION = """
name: secret
author:
  - The Jotunheim developers
short_description: Read a secret from Jotunheim's encrypted store, or from the environment
description:
  - Reads a secret at the moment of use, from the store that C(JOTUNHEIM_DATABASE_URL) names, with the key
    of C(JOTUNHEIM_SECRET_KEY) or C(JOTUNHEIM_SECRET_KEY_FILE).
  - An environment variable that is named after the secret wins over the store, which is then not needed. Its name is
    C(PVE_SECRET_) and the secret's name in capitals, with C(_) for all that is neither letter nor digit. So
    C(node/3/token) is C(PVE_SECRET_NODE_3_TOKEN). The service's own runs do not have such variables.
  - The value is not a template, whatever it contains.
options:
  _terms:
    description: Names of secrets, for example C(node/3/token).
    type: list
    elements: str
    required: true
  forgotten:
    description:
      - Names of secrets that were erased once they had been handed over. They are not looked for in the store, where
        another secret may have the name by now; without an environment variable they are empty.
      - The configuration of a job's bundle names them.
    type: list
    elements: str
    default: []
    ini:
      - section: jotunheim_pve
        key: forgotten_secrets
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
        return [self._read(str(term)) for term in terms]

    def _read(self, name: str) -> str:
        variable = variable_of(name)
        if variable in os.environ:
            return os.environ[variable]
        if name in self.get_option("forgotten"):
            Display().warning(
                f"The secret {name} was erased; {variable} is not set either. Going on without it."
            )
            return ""
        # Imported late: an inventory that takes its secrets from elsewhere needs no database.
        from jotunheim.repositories.peewee.secrets import read_secret

        try:
            return str(read_secret(name, is_there="JOTUNHEIM_RUN_FILE" in os.environ))
        except JotunheimError as error:
            error.hint = " ".join(filter(None, [error.hint, f"A run by hand can be given it in {variable}."]))
            raise AnsibleLookupError(f"{error.message} {error.hint}") from error
