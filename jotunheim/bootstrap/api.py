"""The API's process."""

from jotunheim.bootstrap.store import use_store
from jotunheim.jobs.queue import Queue
from jotunheim.repositories.peewee import database
from jotunheim.routes.call import Context
from jotunheim.services.throttle import Throttle
from jotunheim.settings import Settings


def end(context: Context) -> None:
    """What is to be done when nothing is served any more."""
    context.refusals.flush()
    context.close_queue()
    database.end()


def context(settings: Settings) -> Context:
    """What the API needs; the database is bound as a side effect.

    Raises:
        SecretError: there is no usable secret key, or it is not the one of this database.
        StoreUnavailableError: the database cannot be reached.
    """
    keyring = use_store(settings)
    queue = Queue(settings.queue)
    return Context(
        settings=settings,
        keyring=keyring,
        wake=queue.wake,
        close_queue=queue.close,
        throttle=Throttle(settings),
    )
