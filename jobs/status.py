"""What a command's exit status says to a scheduler; docs/monitoring.md has the table of them."""

from __future__ import annotations

from enum import IntEnum


class Status(IntEnum):
    """What none of the commands foresaw ends with its trace and Python's own 1."""

    DONE = 0
    NOT_WELL = 1
    NOT_USABLE = 2
    NONE_THERE = 3
    FAILURES = 4
    MACHINE = 5
    HELD = 6
