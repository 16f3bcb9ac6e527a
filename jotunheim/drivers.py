"""Which drivers of databases and queues a process loads.

Peewee and Huey import every driver that is installed, whichever one they will use: a fifth of a second and twenty
megabytes in each process.
"""

import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager

_SCHEMES = {
    "psycopg": ("postgresql://", "postgres://"),
    "redis": ("redis://", "rediss://", "unix://"),
}


def needed(*urls: str) -> list[str]:
    """The drivers that databases and queues at these URLs need."""
    return [driver for driver, schemes in _SCHEMES.items() if any(url.startswith(schemes) for url in urls)]


@contextmanager
def only(wanted: Collection[str]) -> Iterator[None]:
    """Within it, imports find no other drivers than these, unless they are loaded already.

    Peewee and Huey go by what their own first import has found.
    """
    hidden = [driver for driver in _SCHEMES if driver not in wanted and driver not in sys.modules]
    # As Python documents `sys.modules`: where there is None, the import fails as if nothing were installed.
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for driver in hidden:
            del sys.modules[driver]
