"""Callback plugin of the tests: every result of a task as one JSON line into the file RESULTS_FILE.

Where a run has a journal, it is the stand-in's.
"""

import json
import os
from typing import Any

from ansible.plugins.callback import CallbackBase

if "JOTUNHEIM_RUN_FILE" in os.environ:
    # Here, because Ansible loads callbacks before it forks for the first task.
    from jotunheim.repositories.peewee import journal
    from tests.playbooks.journal import Journal

    journal.open_journal = Journal  # type: ignore[assignment]

DOCUMENTATION = """
name: json_lines
type: aggregate
short_description: Results as JSON lines
description: Results as JSON lines.
"""


class CallbackModule(CallbackBase):
    """Writes host, task, outcome and result."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "json_lines"

    def _write(self, outcome: str, event: Any) -> None:
        line = {
            "host": event.host.name,
            "task": event.task.name,
            "action": event.task.action,
            "outcome": outcome,
            "result": event.result,
        }
        with open(os.environ["RESULTS_FILE"], "a") as file:  # noqa: PTH123
            file.write(json.dumps(line, default=str) + "\n")

    def v2_runner_on_ok(self, result: Any) -> None:
        self._write("ok", result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:  # noqa: ARG002  # Ansible's signature
        self._write("failed", result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._write("unreachable", result)
