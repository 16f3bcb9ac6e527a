"""Jobs about nodes."""

from jotunheim.jobs.node import sync

KINDS = (sync.KIND,)
