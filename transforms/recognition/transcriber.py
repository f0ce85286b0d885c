"""Chunks of many recordings in, their rows of the table chunks out, by engines at work (`streams`): `second_try` reads
them, `align` times the words. A task does its rows of work by it, a live server what it is sent."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from transforms.audio.front import Chunk, Closing, Work
from transforms.engines import Hypothesis, Utterance, load_once
from transforms.errors import RecordingError
from transforms.recognition.align import AlignerAtWork, Timed, aligner_stream, timing
from transforms.recognition.batching import Window
from transforms.recognition.dialogues import Dialogues, asked
from transforms.recognition.languages import LanguageBook, Ready
from transforms.recognition.report import TaskReport
from transforms.recognition.rows import TaskSpec, chunk_row, closing_row, failed_chunk_row
from transforms.recognition.second_try import Tries, reading, recognizer_stream


class _Peek(NamedTuple):
    id: Any


Ended = Callable[[Closing, RecordingError | None], None]


class Transcriber:
    """For one thread. `bell` rings when `ready` may have changed. `ended` is called with the closing of each work whose
    rows are all there, and its first error, if no chunk of it was read and timed."""

    def __init__(self, spec: TaskSpec, bell: threading.Condition, ended: Ended, *, fair: bool = False) -> None:
        """Loads the engines. `fair`: nobody waits for company for long, as Window says."""
        self._spec, self._ended = spec, ended
        began_at = time.monotonic()
        most_padded_s = spec.config.batching.max_padded_audio_s
        window: Window[Utterance] = Window(most_padded_s, spec.recognizer, fair=fair)
        self._recognizer = recognizer_stream(load_once(spec.recognizer), window, bell)
        self._aligners = [
            aligner_stream(name, load_once(aligner), Window(most_padded_s, aligner, fair=fair), bell)
            for name, aligner in spec.aligners
            if aligner is not None
        ]
        streams = iter(self._aligners)
        self._timers = [
            AlignerAtWork(name, aligner, None if aligner is None else next(streams)) for name, aligner in spec.aligners
        ]
        self._load_s = time.monotonic() - began_at
        self._readings: Dialogues[Hypothesis | RecordingError] = Dialogues([self._recognizer])
        self._timings: Dialogues[Timed] = Dialogues(self._aligners)
        self._languages = LanguageBook()
        self._open_chunks: Counter[tuple[str, int]] = Counter()
        self._closings: dict[tuple[str, int], Closing] = {}
        self._undone: dict[tuple[str, int], RecordingError | None] = {}
        """The first error of works of which no chunk was read and timed so far, None once one was."""
        self._tries = Tries()
        self._told = 0.0, 0.0
        self.peeked: list[tuple[Any, Hypothesis | RecordingError]] = []
        """What `peek` was asked for, by its ids; to be taken away."""
        self.rows: list[dict[str, Any]] = []
        """Those of chunks as they are done, and after those of a work the one that closes it; to be taken away."""

    @property
    def ready(self) -> bool:
        """True if `go_on` would get on."""
        return self._readings.ready or self._timings.ready

    @property
    def at_work(self) -> bool:
        """True while something that was taken is not done."""
        return bool(self._readings or self._timings)

    @property
    def open_works(self) -> int:
        """Of which the closing or a chunk was taken, and not all rows are there."""
        return len(self._closings.keys() | (+self._open_chunks).keys())

    @property
    def waiting_s(self) -> float:
        """Audio that waits for an engine, or for its recording's language, in seconds."""
        return self._readings.waiting_s + self._timings.waiting_s + self._languages.held_s

    def take(self, event: Chunk | Closing) -> None:
        """The events of one work in order; works may mix."""
        if isinstance(event, Chunk):
            self._open_chunks[_key(event.work)] += 1
            self._begin(self._languages.offer(event))
        else:
            self._close(event)

    def peek(self, id: Any, utterance: Utterance) -> None:
        """Reads once what is still being said; no row comes of it."""
        self._readings.begin(_Peek(id), asked(self._recognizer, utterance))

    def go_on(self) -> None:
        """Does what follows from what the engines have done."""
        for item, result in self._readings.done():
            if isinstance(item, _Peek):
                self.peeked.append((item.id, result))
                continue
            if item.language is None:
                standing, ready = self._languages.heard(item.chunk, result if isinstance(result, Hypothesis) else None)
                self._begin(ready)
                for heard in standing:
                    self._time(heard.chunk, heard.hypothesis)
            elif isinstance(result, Hypothesis):
                self._time(item.chunk, result)
            if isinstance(result, RecordingError):
                self._finish(item.chunk, failed_chunk_row(item.chunk, result, self._spec), result)
        for (chunk, hypothesis), timed in self._timings.done():
            self._finish(chunk, chunk_row(chunk, hypothesis, timed, self._spec), timed.error)

    def hurry(self, *, reading: bool = True, last: bool = False) -> None:
        """Chunks whose words are to be timed need not wait for company, nor, with `reading`, those to be read. `last`:
        nothing more will be taken."""
        if reading:
            self._readings.hurry(last)
        self._timings.hurry(last=last and not self._readings)

    def effort(self) -> tuple[float, float]:
        """How long the recognizer was at work since the last call, and of how much audio, both in seconds."""
        before, self._told = self._told, (self._recognizer.busy_s, self._recognizer.audio_s)
        return self._told[0] - before[0], self._told[1] - before[1]

    def account(self, report: TaskReport, busy_s: float) -> None:
        """Adds what was done in `busy_s`, the time since it was made."""
        recognizer = self._recognizer
        report.busy_s, report.second_tries = busy_s, self._tries.second
        report.batches, report.batch_audio_s = recognizer.batches, recognizer.audio_s
        report.padded_audio_s = recognizer.padded_s
        seconds = {
            "load": self._load_s,
            "recognize": recognizer.busy_s,
            "align": sum((aligner.busy_s for aligner in self._aligners), 0.0),
            "wait": busy_s - recognizer.busy_s,
        }
        report.seconds.update(seconds)

    def _close(self, closing: Closing) -> None:
        self._closings[_key(closing.work)] = closing
        standing, ready = self._languages.close(closing.work)
        self._begin(ready)
        for heard in standing:
            self._time(heard.chunk, heard.hypothesis)
        self._end_if_done(closing.work)

    def _begin(self, ready: Iterable[Ready]) -> None:
        for item in ready:
            chunk = item.chunk
            utterance = Utterance(chunk.samples, item.language, chunk.work.context, chunk.speech)
            self._readings.begin(item, reading(self._recognizer, utterance, self._spec.config.retry, self._tries))

    def _time(self, chunk: Chunk, hypothesis: Hypothesis) -> None:
        self._timings.begin((chunk, hypothesis), timing(self._timers, chunk.samples, hypothesis))

    def _finish(self, chunk: Chunk, row: dict[str, Any], error: RecordingError | None) -> None:
        key = _key(chunk.work)
        self.rows.append(row)
        if error is None:
            self._undone[key] = None
        else:
            self._undone.setdefault(key, error)
        self._open_chunks[key] -= 1
        self._end_if_done(chunk.work)

    def _end_if_done(self, work: Work) -> None:
        key = _key(work)
        if key not in self._closings or self._open_chunks[key]:
            return
        closing = self._closings.pop(key)
        del self._open_chunks[key]
        self.rows.append(closing_row(closing, self._spec, self._languages.language(work)))
        self._languages.forget(work)
        self._ended(closing, self._undone.pop(key, None))


def _key(work: Work) -> tuple[str, int]:
    return work.audio_id, work.part_index
