"""Times as people read them."""

from __future__ import annotations


def clock(ms: int) -> str:
    """A time in milliseconds as players show it, rounded down: 2:03, and from an hour on 1:02:03."""
    hours, minutes, seconds = _parts(ms)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def exact_clock(ms: int, point: str = ".") -> str:
    """The same to the millisecond and always with hours, as subtitles have it: 00:02:03.450."""
    hours, minutes, seconds = _parts(ms)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}{point}{ms % 1000:03d}"


def _parts(ms: int) -> tuple[int, int, int]:
    """Hours, minutes and whole seconds."""
    return ms // 3_600_000, ms // 60_000 % 60, ms // 1000 % 60


def seconds(ms: int | None) -> float | None:
    """As JSON's readers want a time; None is not known."""
    return None if ms is None else ms / 1000
