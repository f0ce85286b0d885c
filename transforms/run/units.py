"""The life of one recording on the driver: units (its parts to do), its progress, and the take that is published of
it."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from schemas.parts import Parts, are_whole

_MAX_PARTS_AHEAD = 64
"""A header may claim any length; this many parts are planned beyond those known to exist."""


@dataclass(frozen=True)
class Unit:
    """One part of one recording to do. `row` is the recording's in Plan.table; `language` was detected in an earlier
    part, and the recording was `claimed` with one."""

    audio_id: str
    row: int
    part_index: int
    estimated_ms: int
    language: str | None = None
    claimed: bool = False


@dataclass
class Progress:
    """A recording in this run's hands: of its closed parts whether each goes on, what the header claims, the language
    found; the parts that are `planned`; and where its rows of chunks are: in `waves` of this run, and in those of the
    runs that had `begun` it and died."""

    continues: dict[int, bool] = field(default_factory=dict)
    header_ms: int | None = None
    language: str | None = None
    waves: set[int] = field(default_factory=set)
    planned: set[int] = field(default_factory=set)
    begun: list[str] = field(default_factory=list)

    def close(self, closing: Any) -> None:
        """`closing`: part_index, continues, header_duration_ms and language of a row that closes a part."""
        self.continues[closing.part_index] = closing.continues
        if closing.part_index == 0:
            self.header_ms, self.language = closing.header_duration_ms, closing.language

    @property
    def complete(self) -> bool:
        """True once all its parts are closed."""
        return are_whole(self.continues)

    def parts_to_do(self, parts: Parts) -> list[int]:
        """The first part alone, then, once that goes on, all that the header promises; always at least the next one."""
        if self.complete:
            return []
        reached = next(part for part in range(len(self.continues) + 1) if part not in self.continues)
        promised = parts.count(self.header_ms or 0) if self.continues else 1
        last = max(reached + 1, min(promised, reached + _MAX_PARTS_AHEAD))
        return [part for part in range(reached, last) if part not in self.continues and part not in self.planned]

    def units(self, unit: Unit, parts: Parts) -> list[Unit]:
        """The parts of `unit`'s recording to do next, which are planned from now on."""
        todo = self.parts_to_do(parts)
        self.planned.update(todo)
        return [
            Unit(
                unit.audio_id,
                unit.row,
                part,
                parts.length_ms(part) if self.continues else min(parts.first_ms, unit.estimated_ms),
                self.language,
                claimed=True,
            )
            for part in todo
        ]


def balance(units: Sequence[Unit], tasks: int) -> list[list[Unit]]:
    """At most `tasks` lists of about equal length in ms: each unit, longest first, goes to the list that is shortest so
    far."""
    lists: list[list[Unit]] = [[] for _ in range(min(tasks, len(units)))]
    heap = [(0, index) for index in range(len(lists))]
    for unit in sorted(units, key=lambda unit: (-unit.estimated_ms, unit.audio_id, unit.part_index)):
        total_ms, index = heapq.heappop(heap)
        lists[index].append(unit)
        heapq.heappush(heap, (total_ms + max(1, unit.estimated_ms), index))
    return lists


def task_count(units: Iterable[Unit], task_ms: int, slots: int) -> int:
    """Tasks of about `task_ms`; with less work than that, one a slot."""
    return max(slots, -(-sum(unit.estimated_ms for unit in units) // max(1, task_ms)))
