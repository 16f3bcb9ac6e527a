"""Processor time, as the kernel counts it."""

import os
from pathlib import Path


def seconds(pid: int) -> float:
    """Of a process and all below it, those that are over too."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    children = Path(f"/proc/{pid}/task").glob("*/children")
    below = [int(child) for listed in children for child in listed.read_text().split()]
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK") + sum(map(seconds, below))
