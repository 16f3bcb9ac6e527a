"""ansible-runner's callback, bounded: events that the service reads, cut to what it stores.

Without it, a task with 50 MB of output would be held several times in the worker's memory, and a result that
JSON cannot hold would be lost.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ansible.plugins.loader import callback_loader
from ansible.utils.display import Display

from jotunheim.bounded import bounded, text

DOCUMENTATION = """
name: jotunheim_events
type: stdout
short_description: Events for Jotunheim's worker
description:
  - ansible-runner's callback C(awx_display), with bounded events.
extends_documentation_fragment:
  - default_callback
"""

PRINTED_CHARACTERS = 4096
"""The most that is printed at once, of warnings and errors."""
_READ = {"runner_on_start", "runner_on_ok", "runner_on_failed", "runner_on_unreachable", "runner_on_skipped"}


class CallbackModule(callback_loader.get("awx_display", class_only=True)):  # type: ignore[misc]  # found at run time
    """Tells the worker what tasks do."""

    CALLBACK_NAME = "jotunheim_events"

    @contextmanager
    def capture_event_data(self, event: str, **event_data: Any) -> Iterator[None]:
        """Send one event; those that nobody reads are not even written."""
        if event not in _READ:
            yield
            return
        if "res" in event_data:
            event_data["res"] = bounded(event_data["res"])
        event_data.pop("event_loop", None)
        with super().capture_event_data(event, **event_data):
            yield


def _bounded_display(display: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(display)
    def wrapper(self: Display, msg: str, *args: Any, **kwargs: Any) -> None:
        display(self, text(msg, PRINTED_CHARACTERS), *args, **kwargs)

    return wrapper


Display.display = _bounded_display(Display.display)
