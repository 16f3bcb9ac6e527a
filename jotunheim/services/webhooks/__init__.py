"""Webhooks: who is told, where that may be, and what became of it. Workers tell them: `jobs.webhook`."""
