"""Praat's TextGrid, long text format: a tier of words and a tier of segments for each speaker.

Format: the manual of Praat, "TextGrid file formats".
"""

from __future__ import annotations

from collections.abc import Iterable

from schemas.config import Config
from transforms.exports.recording import Recording, Segment, filled_times, plain

Interval = tuple[int, int, str]
"""(start_ms, end_ms, label)."""


def textgrid(recording: Recording, _: Config) -> str:
    """Tiers 'words' and 'segments', preceded by 'SPEAKER - ' where speakers are known. Intervals touch and cover the
    recording; those without a label are silent."""
    by_speaker: dict[str | None, list[Segment]] = {None: []} if not recording.segments else {}
    for segment in recording.segments:
        by_speaker.setdefault(segment.speaker, []).append(segment)
    spans = [span for segment in recording.segments for span in [_span(segment), *filled_times(segment)]]
    length_ms = max([recording.duration_ms or 1, *(max(end_ms, start_ms + 1) for start_ms, end_ms in spans)])
    tiers: list[tuple[str, list[Interval]]] = []
    for speaker, segments in by_speaker.items():
        prefix = "" if speaker is None else f"{plain(speaker)} - "
        words = [
            (start_ms, end_ms, word.word)
            for segment in segments
            for word, (start_ms, end_ms) in zip(segment.words, filled_times(segment), strict=True)
        ]
        tiers.append((f"{prefix}words", tiled(words, length_ms)))
        tiers.append((f"{prefix}segments", tiled([(*_span(s), s.text) for s in segments], length_ms)))
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "xmin = 0", f"xmax = {_s(length_ms)}"]
    lines += ["tiers? <exists>", f"size = {len(tiers)}", "item []:"]
    for number, (name, intervals) in enumerate(tiers, start=1):
        lines += [f"    item [{number}]:", '        class = "IntervalTier"', f"        name = {_quoted(name)}"]
        lines += ["        xmin = 0", f"        xmax = {_s(length_ms)}", f"        intervals: size = {len(intervals)}"]
        for index, (start_ms, end_ms, label) in enumerate(intervals, start=1):
            lines += [f"        intervals [{index}]:", f"            xmin = {_s(start_ms)}"]
            lines += [f"            xmax = {_s(end_ms)}", f"            text = {_quoted(label)}"]
    return "\n".join(lines) + "\n"


def tiled(intervals: Iterable[Interval], length_ms: int) -> list[Interval]:
    """Intervals that touch, from 0 to `length_ms`, none empty: one that begins before the last one's end is cut there,
    and if nothing is left of it, its label joins the last one's."""
    tier: list[Interval] = []
    reached = 0
    for start_ms, end_ms, label in sorted(intervals, key=lambda interval: interval[0]):
        begin = max(start_ms, reached)
        if begin >= end_ms and tier and begin == reached:
            tier[-1] = (*tier[-1][:2], f"{tier[-1][2]} {label}".strip())
            continue
        if begin > reached:
            tier.append((reached, begin, ""))
        reached = max(end_ms, begin + 1)
        tier.append((begin, reached, label))
    if reached < length_ms:
        tier.append((reached, length_ms, ""))
    return tier


def _span(segment: Segment) -> tuple[int, int]:
    return segment.start_ms, segment.end_ms


def _s(ms: int) -> str:
    return f"{ms / 1000:.3f}".rstrip("0").rstrip(".")


def _quoted(text: str) -> str:
    return '"' + plain(text).replace('"', '""') + '"'
