"""Where a long recording is cut into parts: the one rule, for the driver that plans them and the tasks that do them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

CUT_WINDOW_S = 30
"""The cut between two parts lies within this many seconds after the nominal start of the second one."""
_STEP_MS = 10_000
"""Lengths are multiples of it, so that what audio/quality.py counts of parts adds up to the whole."""


def are_whole(continues: Mapping[int, bool]) -> bool:
    """Of closed parts, by their index, whether each goes on: True once an unbroken chain of them ends in one that does
    not."""
    part = 0
    while continues.get(part):
        part += 1
    return part in continues


@dataclass(frozen=True)
class Parts:
    """Nominal lengths, all from the start of the recording (or of the stretch of it that is wanted).

    The first part is the shortest: it is done alone, since only its end tells whether others follow, and how many.
    """

    part_minutes: float

    @property
    def part_ms(self) -> int:
        return int(self.part_minutes * 60_000) // _STEP_MS * _STEP_MS

    @property
    def first_ms(self) -> int:
        return max(_STEP_MS, self.part_ms // 2 // _STEP_MS * _STEP_MS)

    def start_ms(self, index: int) -> int:
        return 0 if index == 0 else self.first_ms + (index - 1) * self.part_ms

    def length_ms(self, index: int) -> int:
        return self.start_ms(index + 1) - self.start_ms(index)

    def count(self, length_ms: int) -> int:
        """How many parts a recording of this length has: one begins only where it fills the window for the cut."""
        beyond_ms = length_ms - CUT_WINDOW_S * 1000 - self.first_ms
        return max(1, 2 + beyond_ms // self.part_ms)
