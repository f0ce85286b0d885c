"""Packets of long files that this process has come by, each with what was known when it came: from the nearest one the
next way into the same file goes on. The parts of a recording are entered one after the other, each twice."""

from __future__ import annotations

import copy
import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from transforms.audio.timeline import TimeLine
from transforms.stores.ranged import Ranged, Source

_FILES = 16
"""Remembered: the last ones."""
_EVERY_S = 60


@dataclass
class Way:
    """What is known on a way through a file's packets: the time line, by each of two rules, and for each the stamp and
    the samples of the newest packet, which is not placed yet. `length`: samples of a usual packet. `usual`: how far
    stamps are ahead of the samples, at the start."""

    lines: tuple[TimeLine, ...]
    waiting: tuple[tuple[int | None, int], ...]
    length: int
    usual: int

    def copied(self) -> Way:
        return replace(self, lines=tuple(map(copy.copy, self.lines)))


class Face(NamedTuple):
    """By what a packet is known again."""

    position_bytes: int | None
    size_bytes: int
    pts: int | None
    duration: int | None


def face(packet: Any) -> Face:
    return Face(packet.pos, packet.size, packet.pts, packet.duration)


class Mark(NamedTuple):
    """`passed`: samples before the packet, which is the newest of `way`."""

    passed: int
    packet: Face
    way: Way


class Marks:
    """Of one track of one file, one a minute."""

    def __init__(self) -> None:
        self._by_minute: dict[int, Mark] = {}
        self._hold = True

    def before(self, passed: int) -> Mark | None:
        """The last with fewer samples before it."""
        found = (mark for mark in list(self._by_minute.values()) if mark.passed < passed)
        return max(found, key=lambda mark: mark.passed, default=None)

    def note(self, passed: int, packet: Any, way: Way, rate_hz: int) -> int:
        """Keeps the packet if it is the first of its minute. Returns the samples before the next minute."""
        minute = passed // (_EVERY_S * rate_hz)
        if self._hold and packet.pos is not None and minute not in self._by_minute:
            self._by_minute[minute] = Mark(passed, face(packet), way.copied())
        return (minute + 1) * _EVERY_S * rate_hz

    def give_up(self) -> None:
        """Keeps none from now on: this file's packets are not found again."""
        self._hold = False
        self._by_minute.clear()


_files: OrderedDict[str, Marks] = OrderedDict()
_lock = threading.Lock()


def marks_of(source: Source, track: int) -> Marks:
    """Those of a file, as it is now; of bytes in memory none are kept."""
    if isinstance(source, Path):
        stat = source.stat()
        key = f"{source.absolute()} {stat.st_size} {stat.st_mtime_ns} {track}"
    elif isinstance(source, Ranged):
        key = f"{source.version} {track}"
    else:
        return Marks()
    with _lock:
        found = _files.setdefault(key, Marks())
        _files.move_to_end(key)
        while len(_files) > _FILES:
            _files.popitem(last=False)
        return found
