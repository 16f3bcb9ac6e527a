"""Jobs about nodes."""

from jotunheim.jobs.node import drift, orphans, sync

KINDS = (drift.KIND, sync.KIND, *orphans.KINDS)
