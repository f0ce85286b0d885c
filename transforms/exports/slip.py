"""Subtitles where people speak faster than one can read: they may begin a little before their words or after them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

from schemas.config import SubtitlesConfig


class Shown(NamedTuple):
    """When a subtitle is shown, and how long it takes to read it."""

    start_ms: int
    end_ms: int
    needed_ms: int
    speaker: str | None


def slipped(shown: Sequence[Shown], config: SubtitlesConfig) -> list[tuple[int, int]]:
    """(start_ms, end_ms) of each of `shown`, which come by their start. One that is too short begins earlier, where
    nothing is shown, and then lasts longer, while those after it begin later and as much of the time is made up as
    they have to spare; none by more than `max_slip_ms`, and not at the cost of its own readers.

    Only what one speaker says is put off, as the BBC's guidelines have it, which allow 1.5 s; and nothing that overlaps
    another.
    """
    alone = _alone(shown)
    ends_by = [math.inf] * len(shown)
    begins_by = [one.start_ms for one in shown]
    for at in reversed(range(len(shown))):
        one = shown[at]
        if at + 1 < len(shown):
            following = shown[at + 1]
            next_ms = begins_by[at + 1] if following.speaker == one.speaker else following.start_ms
            ends_by[at] = next_ms - config.gap_ms
        if alone[at]:
            latest_ms = min(one.start_ms + config.max_slip_ms, ends_by[at] - one.needed_ms)
            begins_by[at] = max(one.start_ms, int(latest_ms))
    found: list[tuple[int, int]] = []
    free_ms = put_off_ms = 0
    for at, one in enumerate(shown):
        start_ms, end_ms = max(one.start_ms, put_off_ms), one.end_ms
        if alone[at]:
            natural_ms = shown[at + 1].start_ms - config.gap_ms if at + 1 < len(shown) else math.inf
            missing_ms = max(0, start_ms + one.needed_ms - natural_ms)
            earliest_ms = max(free_ms, one.start_ms - config.max_slip_ms)
            start_ms = min(start_ms, max(earliest_ms, int(start_ms - missing_ms)))
            end_ms = max(end_ms, int(min(start_ms + one.needed_ms, ends_by[at], start_ms + config.max_ms)))
        found.append((start_ms, end_ms))
        free_ms = max(free_ms, end_ms + config.gap_ms)
        put_off_ms = end_ms + config.gap_ms if end_ms > one.end_ms else 0
    return found


def _alone(shown: Sequence[Shown]) -> list[bool]:
    """Whether nothing else is shown while each of them is."""
    before = accumulate((one.end_ms for one in shown), max, initial=0)
    after = [*(one.start_ms for one in shown[1:]), math.inf]
    return [
        reached_ms <= one.start_ms and one.end_ms <= next_ms
        for one, reached_ms, next_ms in zip(shown, before, after, strict=False)
    ]
