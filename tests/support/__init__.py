"""Processes and clients that tests use."""
