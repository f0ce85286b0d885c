"""The fused task: rows of the plan in, rows of the chunks table out. Audio never leaves the Python worker.

Threads run the front end ahead (`prefetch`), the chunks become rows (`transcriber`), and rows go out in Arrow batches.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator

import pyarrow as pa

from schemas.tables import CHUNKS, to_batch
from transforms.audio.front import Closing
from transforms.audio.prefetch import Prefetch
from transforms.engines import languages_of
from transforms.errors import RecordingError
from transforms.logs import tell_of_task
from transforms.recognition.alike import in_process, outcome
from transforms.recognition.languages import only_spoken
from transforms.recognition.report import TaskReport
from transforms.recognition.rows import TaskSpec, works_of
from transforms.recognition.transcriber import Transcriber

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
        self._spec, self._front_end, self._bell = spec, front_end, bell
        self.report = TaskReport()
        self._transcriber = Transcriber(spec, bell, self._ended)

    def run(self) -> Iterator[pa.RecordBatch]:
        began_at = time.monotonic()
        while self._goes_on():
            if len(self._transcriber.rows) >= _ROWS_A_BATCH:
                yield self._flush()
        if self._transcriber.rows:
            yield self._flush()
        if left := self._transcriber.open_works:
            raise RuntimeError(f"{left} recordings were left without a result; this is a bug, please report it")
        self._transcriber.account(self.report, time.monotonic() - began_at)

    def _goes_on(self) -> bool:
        """Does what there is to do, and waits until there is more; False when all is done."""
        transcriber, ended = self._transcriber, self._front_end.ended
        self._read_on()
        transcriber.go_on()
        transcriber.hurry(reading=ended or not self._has_room, last=ended)
        if ended and not transcriber.at_work:
            return False
        with self._bell:
            self._bell.wait_for(
                lambda: (
                    transcriber.ready
                    or (self._has_room and self._front_end.ready)
                    or self._front_end.ended is not ended
                )
            )
        return True

    @property
    def _has_room(self) -> bool:
        return self._transcriber.waiting_s < self._spec.config.batching.lookahead_audio_s

    def _read_on(self) -> None:
        """Takes what the front end has ready, as far as the look-ahead reaches."""
        while self._has_room and (event := self._front_end.next(wait=False)) is not None:
            self._transcriber.take(event)

    def _ended(self, closing: Closing, undone: RecordingError | None) -> None:
        self.report.recordings += not closing.continues
        self.report.failed += closing.error is not None
        self.report.audio_ms += closing.audio_ms
        _tell(closing, undone)
        ended = outcome(closing.error or undone)
        self.report.alike += ended
        in_process(self._spec.run_id, ended).check(self._spec.config.run.alike_failures)

    def _flush(self) -> pa.RecordBatch:
        rows, self._transcriber.rows = self._transcriber.rows, []
        return to_batch(rows, CHUNKS.arrow)


def _tell(closing: Closing, undone: RecordingError | None) -> None:
    work, error = closing.work, closing.error or undone
    seconds = {stage: round(stage_s, 3) for stage, stage_s in sorted(closing.seconds.items())}
    context = {"audio_id": work.audio_id, "uri": work.uri, "part_index": work.part_index, "stage_seconds": seconds}
    if error is not None:
        tell_of_task(error.message, logging.WARNING, **context, stage=error.stage, kind=error.kind)
    else:
        tell_of_task("recording done", **context, audio_s=closing.audio_ms / 1000, chunks=closing.chunk_count)
