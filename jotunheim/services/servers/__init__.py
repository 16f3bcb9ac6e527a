"""Servers: creating, reading, and what may be done to them."""
