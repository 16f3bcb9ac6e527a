"""What every process of the service logs, and where."""

import logging
import sys

from jotunheim.settings import Settings


def configure_logging(settings: Settings) -> None:
    """Log to standard error, one line an entry."""
    logging.basicConfig(
        level=settings.log_level,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        force=True,
    )
    # At DEBUG it logs statements with their values: hashes of passwords and tokens, encrypted secrets.
    logging.getLogger("peewee").setLevel(logging.INFO)
    logging.getLogger("huey").setLevel(logging.WARNING)
    logging.getLogger("httpx").setLevel(logging.WARNING)
