"""Servers: what a caller asks for, what the API answers, and the words for their state."""
