"""Tells webhooks what was announced: claimed with a lease, sent to checked addresses, tried again for a day."""
