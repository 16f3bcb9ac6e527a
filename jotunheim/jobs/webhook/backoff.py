"""When a webhook is called again: after 5 s, then four times as long each time, at most 6 h; eleven attempts in about a day."""

import random

from jotunheim.settings import Settings

MAX_ATTEMPTS = 11
_FACTOR = 4
_MOST = 4320
"""Of the setting's seconds: 6 h of 5 s."""
# What failed together, because of one receiver, does not all come back in the same moment.
_JITTER = (0.8, 1.2)


def pause(attempt: int, asked_seconds: float | None, settings: Settings) -> float | None:
    """Seconds until the next attempt; None: there is none.

    Args:
        attempt: the number of the one that failed, from 1.
        asked_seconds: what the receiver said in `Retry-After`: it is not called sooner, unless it asks for more than 6 h.
    """
    if attempt >= MAX_ATTEMPTS:
        return None
    base = settings.webhook_retry_base_seconds
    growing: float = base * min(_FACTOR ** (attempt - 1), _MOST) * random.uniform(*_JITTER)  # noqa: S311 - no secret
    return max(growing, min(asked_seconds or 0, base * _MOST))
