"""Builds the objects of a process and wires them: the one place that knows how all fits together.

A module for each kind of process, so that none loads what only another one needs.
"""
