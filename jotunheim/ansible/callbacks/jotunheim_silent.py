"""The stdout callback below ansible-runner's: prints nothing. Results travel as events, and nobody reads a screen."""

from __future__ import annotations

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: jotunheim_silent
type: stdout
short_description: Prints nothing
description:
  - What Jotunheim sets below ansible-runner's callback.
extends_documentation_fragment:
  - default_callback
"""


class CallbackModule(CallbackBase):  # type: ignore[misc]  # ansible publishes no types
    """Prints nothing."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "jotunheim_silent"
