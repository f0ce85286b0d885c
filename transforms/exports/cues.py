"""Words → subtitles that obey the trade's rules: how wide, how many lines, how long, how fast, and where to cut.

The limits are SubtitlesConfig's, by default the trade's usual ones. Within them, the cuts are those of least cost over
all the ways to divide what a speaker says without a long pause (dynamic programming over its words).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from itertools import combinations, pairwise
from typing import NamedTuple

from schemas.config import SubtitlesConfig
from transforms.exports.breaks import cut_cost, span_cost
from transforms.exports.recording import Recording, joined_pieces, turns
from transforms.exports.slip import Shown, slipped
from transforms.exports.units import Unit, units, width

_CUE_COST = 4.0
_SHORT_COST = 3.0
_SECOND_LINE_COST = 0.5
_UNBALANCED_COST = 16.0
_WRONG_COST = 10.0
_WRONG_COST_PER_MS = 0.02
_RUN_PAUSE_MS = 1_500
"""Nothing is shown over a longer pause: it would tell what comes."""


class Cue(NamedTuple):
    start_ms: int
    end_ms: int
    lines: tuple[str, ...]
    speaker: str | None


class _Run(NamedTuple):
    """What one speaker says without a long pause; `room_ms` is, for each unit, when anybody says the next word."""

    units: list[Unit]
    room_ms: list[int]
    speaker: str | None
    language: str | None


def cues(recording: Recording, config: SubtitlesConfig) -> list[Cue]:
    """Subtitles by start. Those of one speaker never overlap; those of two do only where both speak.

    Every line is within `max_line_chars`, every cue within `max_lines` and `max_ms`. A cue is as fast to read as asked
    and lasts `min_ms` wherever some division of the words allows it, lasting into the silence after it if need be;
    where people speak faster than that, cues slip (slip.py), and all words are kept.
    """
    found = [cue for run in _runs(recording, config) for cue in _run_cues(run, config)]
    found.sort(key=lambda cue: (cue.start_ms, cue.end_ms))
    shown = [Shown(cue.start_ms, cue.end_ms, needed_ms(_columns(cue), config), cue.speaker) for cue in found]
    times = slipped(shown, config)
    return [cue._replace(start_ms=start, end_ms=end) for cue, (start, end) in zip(found, times, strict=True)]


def needed_ms(text_width: int, config: SubtitlesConfig) -> int:
    """How long a text must be shown to be read."""
    return max(config.min_ms, -int(-text_width * 1000 // config.chars_per_second))


def _columns(cue: Cue) -> int:
    return sum(map(width, cue.lines)) + len(cue.lines) - 1


def _runs(recording: Recording, config: SubtitlesConfig) -> list[_Run]:
    parts: list[tuple[str | None, str | None, list[Unit]]] = []
    for speaker, segments in turns(recording):
        said = units(joined_pieces(segments), config.max_line_chars)
        cuts = [k + 1 for k, (a, b) in enumerate(pairwise(said)) if b.start_ms - a.end_ms > _RUN_PAUSE_MS]
        parts += [(speaker, segments[0].language, said[first:last]) for first, last in pairwise([0, *cuts, len(said)])]
    starts = sorted(unit.start_ms for _, _, said in parts for unit in said)
    endless_ms = max((unit.end_ms for _, _, said in parts for unit in said), default=0) + config.max_ms + config.gap_ms
    starts.append(endless_ms)
    runs = []
    for speaker, language, said in parts:
        own = [*(unit.start_ms for unit in said[1:]), endless_ms]
        room_ms = [
            min(next_ms, starts[bisect_left(starts, max(unit.end_ms, unit.start_ms + 1))])
            for unit, next_ms in zip(said, own, strict=True)
        ]
        runs.append(_Run(said, room_ms, speaker, language))
    return runs


def _run_cues(run: _Run, config: SubtitlesConfig) -> list[Cue]:
    edges = _divided(run, config, strict=True) or _divided(run, config, strict=False)
    found: list[Cue] = []
    reached_ms = 0
    for first, last in pairwise(edges):
        part = run.units[first:last]
        start_ms = max(part[0].start_ms, reached_ms)
        spoken_ms = max(part[-1].end_ms, start_ms + needed_ms(_width(part), config))
        limit_ms = _limit_ms(run, first, last, config)
        reached_ms = max(min(spoken_ms, limit_ms), start_ms + 1)
        found.append(Cue(start_ms, reached_ms, _lines(part, run.language, config), run.speaker))
    return found


def _divided(run: _Run, config: SubtitlesConfig, *, strict: bool) -> list[int]:
    """The indices at which the run's cues begin, and its length, at the least cost; `strict` allows no cue that is too
    short or too fast, and gives [] if there is no such division."""
    said, count = run.units, len(run.units)
    cuts = [cut_cost(a, b, run.language) for a, b in pairwise(said)] + [0.0]
    spans = [span_cost(a, b) for a, b in pairwise(said)] + [0.0]
    best, came_from = [0.0] + [math.inf] * count, [0] * (count + 1)
    for first in range(count):
        if best[first] == math.inf:
            continue
        inside, lines, column, total = 0.0, 1, 0, 0
        for at in range(first, count):
            space = len(said[at - 1].space) if at > first else 0
            column, total = column + space + said[at].width, total + space + said[at].width
            if column > config.max_line_chars:
                lines, column = lines + 1, said[at].width
            too_long = said[at].end_ms - said[first].start_ms > config.max_ms
            if at > first and (lines > config.max_lines or too_long):
                break
            missing_ms = needed_ms(total, config) - (_limit_ms(run, first, at + 1, config) - said[first].start_ms)
            cost = best[first] + _CUE_COST + inside + cuts[at] + _SECOND_LINE_COST * (lines - 1)
            cost += _SHORT_COST * max(0.0, 1 - total / config.max_line_chars)
            if missing_ms > 0:
                cost += math.inf if strict else _WRONG_COST + _WRONG_COST_PER_MS * missing_ms
            if cost < best[at + 1]:
                best[at + 1], came_from[at + 1] = cost, first
            inside += spans[at]
    if best[count] == math.inf:
        return []
    edges = [count]
    while edges[-1]:
        edges.append(came_from[edges[-1]])
    return edges[::-1]


def _limit_ms(run: _Run, first: int, last: int, config: SubtitlesConfig) -> int:
    """When a cue of units [first, last) has to be gone."""
    return min(run.units[first].start_ms + config.max_ms, run.room_ms[last - 1] - config.gap_ms)


def _lines(part: Sequence[Unit], language: str | None, config: SubtitlesConfig) -> tuple[str, ...]:
    """As few lines as they fit in, cut where it hurts least and of like length."""
    for count in range(1, len(part) + 1):
        fitting = [
            [part[first:last] for first, last in pairwise((0, *cuts, len(part)))]
            for cuts in combinations(range(1, len(part)), count - 1)
        ]
        fitting = [lines for lines in fitting if all(_width(line) <= config.max_line_chars for line in lines)]
        if fitting:
            return tuple(_text(line) for line in min(fitting, key=lambda lines: _layout_cost(lines, language)))
    raise AssertionError(f"no line holds '{part[0].text}'")  # units are never wider than a line


def _layout_cost(lines: Sequence[Sequence[Unit]], language: str | None) -> float:
    widths = [_width(line) for line in lines]
    unbalance = (max(widths) - min(widths)) / max(widths)
    return _UNBALANCED_COST * unbalance**2 + sum(cut_cost(a[-1], b[0], language) for a, b in pairwise(lines))


def _text(part: Sequence[Unit]) -> str:
    return "".join(unit.text + unit.space for unit in part).rstrip()


def _width(part: Sequence[Unit]) -> int:
    return sum(unit.width + len(unit.space) for unit in part) - len(part[-1].space)
