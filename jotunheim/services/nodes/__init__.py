"""Locations, nodes and templates."""
