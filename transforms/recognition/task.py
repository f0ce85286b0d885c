"""The fused task: rows of the plan in, rows of the chunks table out. Audio never leaves the Python worker.

Threads run the front end ahead (`prefetch`), chunks of many recordings are read (`second_try`) and their words timed
(`align`) by engines at work (`streams`), and rows go out in Arrow batches.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pyarrow as pa

from schemas.tables import CHUNKS, to_batch
from transforms.audio.front import Chunk, Closing, Work
from transforms.audio.prefetch import Prefetch
from transforms.engines import Hypothesis, Utterance, languages_of, load_once
from transforms.errors import RecordingError
from transforms.logs import tell_of_task
from transforms.recognition.align import AlignerAtWork, Timed, aligner_stream, timing
from transforms.recognition.alike import in_process, outcome
from transforms.recognition.batching import Window
from transforms.recognition.dialogues import Dialogues
from transforms.recognition.languages import LanguageBook, Ready, only_spoken
from transforms.recognition.report import TaskReport
from transforms.recognition.rows import TaskSpec, chunk_row, closing_row, failed_chunk_row, works_of
from transforms.recognition.second_try import Tries, reading, recognizer_stream

_ROWS_A_BATCH = 500


def recognize_partition(
    rows: Iterable[pa.RecordBatch], spec: TaskSpec, report: Callable[[TaskReport], None]
) -> Iterator[pa.RecordBatch]:
    """Does the works in `rows` (WORK's columns); yields rows of the chunks table: for each work its chunks, and
    one closing row.

    `report` is called once, at the end. What is wrong with a recording becomes a row; what is wrong with the machine is
    raised, as is MachineError when too many recordings in a row failed alike in this process.
    """
    bell, known = threading.Condition(), languages_of(spec.recognizer)
    with Prefetch(works_of(rows), spec.config, only_spoken(known), bell) as front_end:
        task = _Task(spec, front_end, bell)
        yield from task.run()
    task.report.seconds.update(front_end.stage_seconds)
    report(task.report)


class _Task:
    def __init__(self, spec: TaskSpec, front_end: Prefetch, bell: threading.Condition) -> None:
        """Loads the engines."""
        self._spec, self._front_end, self._bell = spec, front_end, bell
        self.report = TaskReport()
        began_at = time.monotonic()
        most_padded_s = spec.config.batching.max_padded_audio_s
        window: Window[Utterance] = Window(most_padded_s, spec.recognizer)
        self._recognizer = recognizer_stream(load_once(spec.recognizer), window, bell)
        self._aligners = [
            aligner_stream(name, load_once(aligner), Window(most_padded_s, aligner), bell)
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
        self._rows: list[dict[str, Any]] = []
        self._tries = Tries()

    def run(self) -> Iterator[pa.RecordBatch]:
        began_at = time.monotonic()
        while self._goes_on():
            if len(self._rows) >= _ROWS_A_BATCH:
                yield self._flush()
        if self._rows:
            yield self._flush()
        if self._closings or +self._open_chunks:
            raise RuntimeError(
                f"{len(self._closings)} recordings were left without a result; this is a bug, please report it"
            )
        self._account(time.monotonic() - began_at)

    def _account(self, busy_s: float) -> None:
        recognizer, report = self._recognizer, self.report
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

    def _goes_on(self) -> bool:
        """Does what there is to do, and waits until there is more; False when all is done."""
        ended = self._front_end.ended
        self._read_on()
        self._take_what_is_done()
        if ended or not self._has_room:
            self._readings.hurry(last=ended)
        self._timings.hurry(last=ended and not self._readings)
        if ended and not self._readings and not self._timings:
            return False
        with self._bell:
            self._bell.wait_for(
                lambda: (
                    self._readings.ready
                    or self._timings.ready
                    or (self._has_room and self._front_end.ready)
                    or self._front_end.ended is not ended
                )
            )
        return True

    @property
    def _has_room(self) -> bool:
        waiting_s = self._readings.waiting_s + self._timings.waiting_s + self._languages.held_s
        return waiting_s < self._spec.config.batching.lookahead_audio_s

    def _read_on(self) -> None:
        """Takes what the front end has ready, as far as the look-ahead reaches."""
        while self._has_room and (event := self._front_end.next(wait=False)) is not None:
            if isinstance(event, Chunk):
                self._open_chunks[_key(event.work)] += 1
                self._begin(self._languages.offer(event))
            else:
                self._close(event)

    def _close(self, closing: Closing) -> None:
        self._closings[_key(closing.work)] = closing
        standing, ready = self._languages.close(closing.work)
        self._begin(ready)
        for heard in standing:
            self._time(heard.chunk, heard.hypothesis)
        self._emit_if_done(closing.work)

    def _begin(self, ready: Iterable[Ready]) -> None:
        for item in ready:
            chunk = item.chunk
            utterance = Utterance(chunk.samples, item.language, chunk.work.context, chunk.speech)
            self._readings.begin(item, reading(self._recognizer, utterance, self._spec.config.retry, self._tries))

    def _take_what_is_done(self) -> None:
        for item, result in self._readings.done():
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

    def _time(self, chunk: Chunk, hypothesis: Hypothesis) -> None:
        self._timings.begin((chunk, hypothesis), timing(self._timers, chunk.samples, hypothesis))

    def _finish(self, chunk: Chunk, row: dict[str, Any], error: RecordingError | None) -> None:
        key = _key(chunk.work)
        self._rows.append(row)
        if error is None:
            self._undone[key] = None
        else:
            self._undone.setdefault(key, error)
        self._open_chunks[key] -= 1
        self._emit_if_done(chunk.work)

    def _emit_if_done(self, work: Work) -> None:
        key = _key(work)
        if key not in self._closings or self._open_chunks[key]:
            return
        closing = self._closings.pop(key)
        del self._open_chunks[key]
        self._rows.append(closing_row(closing, self._spec, self._languages.language(work)))
        self._languages.forget(work)
        self.report.recordings += not closing.continues
        self.report.failed += closing.error is not None
        self.report.audio_ms += closing.audio_ms
        undone = self._undone.pop(key, None)
        _tell(closing, undone)
        ended = outcome(closing.error or undone)
        self.report.alike += ended
        in_process(self._spec.run_id, ended).check(self._spec.config.run.alike_failures)

    def _flush(self) -> pa.RecordBatch:
        rows, self._rows = self._rows, []
        return to_batch(rows, CHUNKS.arrow)


def _tell(closing: Closing, undone: RecordingError | None) -> None:
    work, error = closing.work, closing.error or undone
    seconds = {stage: round(stage_s, 3) for stage, stage_s in sorted(closing.seconds.items())}
    context = {"audio_id": work.audio_id, "uri": work.uri, "part_index": work.part_index, "stage_seconds": seconds}
    if error is not None:
        tell_of_task(error.message, logging.WARNING, **context, stage=error.stage, kind=error.kind)
    else:
        tell_of_task("recording done", **context, audio_s=closing.audio_ms / 1000, chunks=closing.chunk_count)


def _key(work: Work) -> tuple[str, int]:
    return work.audio_id, work.part_index
