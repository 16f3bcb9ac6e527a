"""The fault suite: every request of every kind of job meets every trouble. See docs/reliability.md."""
