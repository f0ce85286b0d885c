"""The language of a recording: given, or detected once from its first clear chunk and used for all the others; or,
with 'auto-per-chunk', detected in each chunk by itself.

The outcome depends on the recording's own chunks in their own order, never on what was in a batch: later chunks wait
for the decision.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from schemas.config import AUTO_PER_CHUNK, Config
from transforms.audio.front import Chunk, Closing, StageClock, Work, front
from transforms.engines import Hypothesis
from transforms.errors import RecordingError

CLEAR_PROBABILITY = 0.5
"""A chunk decides its recording's language from this probability on: faster-whisper's own bound for asking the next
segment."""


def only_spoken(known: frozenset[str] | None) -> Callable[[Work, Config, StageClock], Iterator[Chunk | Closing]]:
    """The front end for an engine that knows these languages (None: any): a recording in another ends before any audio
    is read, since the engine would refuse each of its chunks, and the batches that they are in."""

    def read(work: Work, config: Config, clock: StageClock) -> Iterator[Chunk | Closing]:
        if known is None or work.language in known or work.language in (None, AUTO_PER_CHUNK):
            yield from front(work, config, clock)
            return
        reason = f"{work.name} is in the language '{work.language}', which the engine does not know"
        message = f"{reason}; choose another engine, or correct the manifest: it knows {', '.join(sorted(known))}"
        yield Closing(work, error=RecordingError("recognize", "language", message))

    return read


class Ready(NamedTuple):
    """A chunk to recognize; `language` None means that the engine detects it."""

    chunk: Chunk
    language: str | None


class Heard(NamedTuple):
    """A chunk whose hypothesis stands."""

    chunk: Chunk
    hypothesis: Hypothesis


@dataclass
class _Recording:
    decided: str | None
    each_chunk: bool = False
    closed: bool = False
    scouting: bool = False
    held: deque[Chunk] = field(default_factory=deque)
    doubtful: list[Heard] = field(default_factory=list)


class LanguageBook:
    """Decides which chunks may be recognized, and in which language. One for each task."""

    def __init__(self) -> None:
        self._recordings: dict[tuple[str, int], _Recording] = {}
        self.held_s = 0.0
        """Audio of the chunks that wait for a decision, in seconds. While there is some, a chunk of theirs is out."""

    def offer(self, chunk: Chunk) -> list[Ready]:
        """Takes the next chunk of a recording; returns those that can be recognized now."""
        recording = self._of(chunk.work)
        if recording.decided is not None or recording.each_chunk:
            return [Ready(chunk, recording.decided)]
        recording.held.append(chunk)
        self.held_s += chunk.audio_s
        return self._next_scout(recording)

    def heard(self, chunk: Chunk, hypothesis: Hypothesis | None) -> tuple[list[Heard], list[Ready]]:
        """Takes the answer for a chunk sent with language None (None: it failed). Returns what stands, and what can be
        recognized now."""
        recording = self._of(chunk.work)
        if recording.each_chunk:
            return ([Heard(chunk, hypothesis)] if hypothesis is not None else []), []
        recording.scouting = False
        if hypothesis is not None:
            recording.doubtful.append(Heard(chunk, hypothesis))
            if hypothesis.text and hypothesis.language and (hypothesis.language_probability or 0) >= CLEAR_PROBABILITY:
                return self._decide(recording, hypothesis.language)
        return self._go_on(recording)

    def close(self, work: Work) -> tuple[list[Heard], list[Ready]]:
        """Tells that no more chunks of this work will come."""
        recording = self._of(work)
        recording.closed = True
        return self._go_on(recording)

    def language(self, work: Work) -> str | None:
        """The decided language, if there is one."""
        return self._of(work).decided

    def forget(self, work: Work) -> None:
        self._recordings.pop((work.audio_id, work.part_index), None)

    def _of(self, work: Work) -> _Recording:
        each_chunk = work.language == AUTO_PER_CHUNK
        new = _Recording(None if each_chunk else work.language, each_chunk)
        return self._recordings.setdefault((work.audio_id, work.part_index), new)

    def _next_scout(self, recording: _Recording) -> list[Ready]:
        if recording.scouting or not recording.held:
            return []
        recording.scouting = True
        scout = recording.held.popleft()
        self.held_s -= scout.audio_s
        return [Ready(scout, None)]

    def _go_on(self, recording: _Recording) -> tuple[list[Heard], list[Ready]]:
        if recording.decided is not None:
            return [], []
        ready = self._next_scout(recording)
        if ready or recording.scouting or not recording.closed or not recording.doubtful:
            return [], ready
        votes: dict[str, float] = defaultdict(float)
        for heard in recording.doubtful:
            if heard.hypothesis.language:
                votes[heard.hypothesis.language] += (heard.hypothesis.language_probability or 0) * heard.chunk.audio_s
        if not votes:
            standing, recording.doubtful = recording.doubtful, []
            return standing, []
        return self._decide(recording, max(sorted(votes), key=lambda language: votes[language]))

    def _decide(self, recording: _Recording, language: str) -> tuple[list[Heard], list[Ready]]:
        recording.decided = language
        standing = [heard for heard in recording.doubtful if heard.hypothesis.language in (language, None)]
        again = [
            Ready(heard.chunk, language)
            for heard in recording.doubtful
            if heard.hypothesis.language not in (language, None)
        ]
        waiting = [Ready(chunk, language) for chunk in recording.held]
        self.held_s -= sum(chunk.audio_s for chunk in recording.held)
        recording.doubtful, recording.held = [], deque()
        return standing, again + waiting
