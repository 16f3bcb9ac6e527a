"""How the hosts of a run take turns: as `linear` has it; in a run that several jobs share as `free` has it, so that none waits for another."""

from __future__ import annotations

import os
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.strategy import free, linear

DOCUMENTATION = """
name: jotunheim
short_description: Hosts of one job take turns, hosts of several do not wait for each other
description:
  - The strategies C(linear) and C(free) of Ansible, whichever the run is for.
"""

_IS_SHARED = bool(os.environ.get("JOTUNHEIM_SHARED_RUN"))


class StrategyModule((free if _IS_SHARED else linear).StrategyModule):  # type: ignore[misc]  # ansible publishes no types
    """Decides which task runs next on which host."""

    def _process_pending_results(self, *args: Any, **kwargs: Any) -> Any:
        # `linear` looks for processes that died without a word, and `free` would wait for them for ever.
        if _IS_SHARED and self._tqm.has_dead_workers():
            raise AnsibleError("A worker was found in a dead state")
        return super()._process_pending_results(*args, **kwargs)
