"""Webhooks: what is told to receivers, and the shapes of what is asked and answered about that."""
