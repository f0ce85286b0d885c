"""The fused task: rows of the plan in, rows of the chunks table out. Audio never leaves the Python worker.

Threads run the front end ahead (`prefetch`), chunks of many recordings form batches (`batching`), the engine
recognizes, aligners time the words, and rows go out in Arrow batches.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pyarrow as pa

from schemas.tables import CHUNKS, to_batch
from transforms.audio.front import Chunk, Closing, StageClock, Work
from transforms.audio.prefetch import Prefetch
from transforms.engines import Hypothesis, Utterance, load_once
from transforms.errors import RecordingError
from transforms.recognition.align import align_all
from transforms.recognition.alike import in_process, outcome
from transforms.recognition.batching import Window
from transforms.recognition.languages import LanguageBook
from transforms.recognition.report import TaskReport
from transforms.recognition.rows import TaskSpec, chunk_row, closing_row, failed_chunk_row, works_of
from transforms.recognition.second_try import Tries, recognize_all

_ROWS_A_BATCH = 500


def recognize_partition(
    rows: Iterable[pa.RecordBatch], spec: TaskSpec, report: Callable[[TaskReport], None]
) -> Iterator[pa.RecordBatch]:
    """Does the works in `rows` (WORK's columns); yields rows of the chunks table: for each work its chunks, and
    one closing row.

    `report` is called once, at the end. What is wrong with a recording becomes a row; what is wrong with the machine is
    raised, as is MachineError when too many recordings in a row failed alike in this process.
    """
    task, started = _Task(spec), time.monotonic()
    with Prefetch(works_of(rows), spec.config) as front_end:
        yield from task.run(front_end)
    task.report.seconds.update(front_end.stage_seconds)
    task.report.busy_s = time.monotonic() - started - task.report.seconds["load"]
    report(task.report)


class _Task:
    def __init__(self, spec: TaskSpec) -> None:
        self.spec, self.report = spec, TaskReport()
        self._clock = StageClock()
        self._window = Window(spec.config.batching, spec.recognizer)
        self._languages = LanguageBook()
        self._open_chunks: Counter[tuple[str, int]] = Counter()
        self._closings: dict[tuple[str, int], Closing] = {}
        self._undone: dict[tuple[str, int], RecordingError | None] = {}
        """The first error of works of which no chunk was read and timed so far, None once one was."""
        self._rows: list[dict[str, Any]] = []
        self._tries = Tries()

    def run(self, front_end: Prefetch) -> Iterator[pa.RecordBatch]:
        with self._clock("load"):
            self._recognizer = load_once(self.spec.recognizer)
            self._aligners = [
                (name, spec, None if spec is None else load_once(spec)) for name, spec in self.spec.aligners
            ]
        while self._fill(front_end):
            self._recognize(self._window.take())
            if len(self._rows) >= _ROWS_A_BATCH:
                yield self._flush()
        if self._rows:
            yield self._flush()
        if self._closings or +self._open_chunks:
            raise RuntimeError(
                f"{len(self._closings)} recordings were left without a result; this is a bug, please report it"
            )
        self.report.second_tries = self._tries.second
        self.report.seconds.update(self._clock.seconds)

    def _fill(self, front_end: Prefetch) -> bool:
        """Fills the window as far as is worth waiting for; False when all is done."""
        lookahead_s = self.spec.config.batching.lookahead_audio_s
        while self._window.audio_s + self._languages.held_s < lookahead_s:
            enough = self._window.has_full_batch
            with self._clock("wait"):
                event = front_end.next(wait=not enough)
            if event is None and (enough or front_end.ended):
                break
            if isinstance(event, Chunk):
                self._open_chunks[_key(event.work)] += 1
                self._window.add(self._languages.offer(event))
            elif isinstance(event, Closing):
                self._close(event)
        return len(self._window) > 0

    def _close(self, closing: Closing) -> None:
        self._closings[_key(closing.work)] = closing
        standing, ready = self._languages.close(closing.work)
        self._window.add(ready)
        self._finish([(heard.chunk, heard.hypothesis) for heard in standing])
        self._emit_if_done(closing.work)

    def _recognize(self, batch: list[Any]) -> None:
        utterances = [Utterance(item.chunk.samples, item.language, item.chunk.work.context) for item in batch]
        with self._clock("recognize"):
            failed_before = self._tries.out_of_memory
            results = recognize_all(self._recognizer, utterances, self.spec.config.retry, self._tries)
        if self._tries.out_of_memory > failed_before:
            self._window.halve()
        self.report.batches += 1
        self.report.batch_audio_s += sum(item.chunk.audio_s for item in batch)
        self.report.padded_audio_s += len(batch) * max(item.chunk.audio_s for item in batch)
        done: list[tuple[Chunk, Hypothesis | RecordingError]] = []
        for item, result in zip(batch, results, strict=True):
            if item.language is None:
                standing, ready = self._languages.heard(item.chunk, result if isinstance(result, Hypothesis) else None)
                done += [(heard.chunk, heard.hypothesis) for heard in standing]
                self._window.add(ready)
            if item.language is not None or isinstance(result, RecordingError):
                done.append((item.chunk, result))
        self._finish(done)

    def _finish(self, done: list[tuple[Chunk, Hypothesis | RecordingError]]) -> None:
        """Times the words of finished chunks and makes their rows."""
        read = [(chunk, result) for chunk, result in done if isinstance(result, Hypothesis)]
        with self._clock("align"):
            timed = align_all(self._aligners, [(chunk.samples, hypothesis) for chunk, hypothesis in read])
        errors: list[tuple[Chunk, RecordingError | None]] = []
        for (chunk, hypothesis), words in zip(read, timed, strict=True):
            self._rows.append(chunk_row(chunk, hypothesis, words, self.spec))
            errors.append((chunk, words.error))
        for chunk, result in done:
            if isinstance(result, RecordingError):
                self._rows.append(failed_chunk_row(chunk, result, self.spec))
                errors.append((chunk, result))
        for chunk, error in errors:
            if error is None:
                self._undone[_key(chunk.work)] = None
            else:
                self._undone.setdefault(_key(chunk.work), error)
            self._open_chunks[_key(chunk.work)] -= 1
        for work in {_key(chunk.work): chunk.work for chunk, _ in done}.values():
            self._emit_if_done(work)

    def _emit_if_done(self, work: Work) -> None:
        key = _key(work)
        if key not in self._closings or self._open_chunks[key]:
            return
        closing = self._closings.pop(key)
        del self._open_chunks[key]
        self._rows.append(closing_row(closing, self.spec, self._languages.language(work)))
        self._languages.forget(work)
        self.report.recordings += not closing.continues
        self.report.failed += closing.error is not None
        self.report.audio_ms += closing.audio_ms
        undone = self._undone.pop(key, None)
        ended = outcome(closing.error or undone)
        self.report.alike += ended
        in_process(self.spec.run_id, ended).check(self.spec.config.run.alike_failures)

    def _flush(self) -> pa.RecordBatch:
        rows, self._rows = self._rows, []
        return to_batch(rows, CHUNKS.arrow)


def _key(work: Work) -> tuple[str, int]:
    return work.audio_id, work.part_index
