"""Shapes that cross a boundary: what a caller may send, what the API answers, what a run needs.

Sizes are bytes, times are UTC, durations are seconds; the unit stands in the field's name.
"""
