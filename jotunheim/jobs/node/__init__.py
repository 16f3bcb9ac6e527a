"""Jobs about nodes."""

from jotunheim.jobs.node import orphans, sync

KINDS = (sync.KIND, *orphans.KINDS)
