"""Locations, nodes, templates and address pools: what operators tell us and what we answer."""
