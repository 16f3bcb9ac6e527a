"""Shapes of backups."""
