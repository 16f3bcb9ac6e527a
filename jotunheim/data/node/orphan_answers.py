"""The envelopes of the API's answers about orphans."""

from jotunheim.data.answers import Meta
from jotunheim.data.fields import View
from jotunheim.data.job import JobView
from jotunheim.data.node.orphan import OrphanView


class OrphanList(View):
    """A page of orphans."""

    orphans: list[OrphanView]
    meta: Meta


class OrphanAnswer(View):
    """One orphan."""

    orphan: OrphanView


class OrphanJob(View):
    """An orphan, and the job that removes it."""

    orphan: OrphanView
    job: JobView
