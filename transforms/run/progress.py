"""What the run has done so far, for people: a bar on a terminal, a line every few seconds in a log."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import TextIO

from pyspark import AccumulatorParam

from transforms.logs import in_json, tell
from transforms.recognition.report import TaskReport


class TaskReports(AccumulatorParam[TaskReport]):
    """Adds up the reports of finished tasks on the driver."""

    def zero(self, value: TaskReport) -> TaskReport:
        return TaskReport()

    def addInPlace(self, value1: TaskReport, value2: TaskReport) -> TaskReport:
        return value1 + value2


class ProgressDisplay:
    """Shows `read()` every `every_s` seconds while the context lasts, and once more at its end if anything was done."""

    def __init__(
        self,
        recordings: int,
        estimated_ms: int,
        read: Callable[[], TaskReport],
        every_s: float,
        stream: TextIO = sys.stderr,
    ) -> None:
        self._recordings, self._estimated_ms, self._read, self._every_s, self._stream = (
            recordings,
            estimated_ms,
            read,
            every_s,
            stream,
        )
        self._started = time.monotonic()
        self._stop = threading.Event()
        self._bar = None
        if stream.isatty() and not in_json():
            from tqdm import tqdm

            self._bar = tqdm(
                total=recordings,
                unit="recording",
                file=stream,
                bar_format="{l_bar}{bar}| {n_fmt}/{total_fmt} {postfix}",
            )
        self._thread = threading.Thread(target=self._loop, daemon=True, name="progress")

    def __enter__(self) -> ProgressDisplay:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._show()
        if self._bar is not None:
            self._bar.close()

    def _loop(self) -> None:
        while not self._stop.wait(0.5 if self._bar is not None else self._every_s):
            self._show()

    def _show(self) -> None:
        report, seconds = self._read(), time.monotonic() - self._started
        line = progress_line(report, self._recordings, self._estimated_ms, seconds)
        if self._bar is not None:
            self._bar.n = report.recordings
            self._bar.set_postfix_str(line.partition(", ")[2])
        elif in_json():
            counts = {"recordings": report.recordings, "failed": report.failed, "audio_s": report.audio_ms / 1000}
            tell(line, of_recordings=self._recordings, **counts, wall_s=round(seconds, 3))
        else:
            print(line, file=self._stream, flush=True)


def progress_line(report: TaskReport, recordings: int, estimated_ms: int, seconds: float) -> str:
    """Recordings and audio done of how many, times real time, failures, time left. Lengths not yet decoded are
    estimates from file sizes."""
    done_h, share = report.audio_ms / 3.6e6, report.recordings / recordings if recordings else 1.0
    total_h = max(done_h, estimated_ms / 3.6e6)
    if report.audio_ms:
        share = max(share, min(1.0, report.audio_ms / max(1, estimated_ms))) if report.recordings < recordings else 1.0
    left = f"{_duration(seconds * (1 - share) / share)} left" if share > 0 else "time left not known yet"
    speed = report.audio_ms / 1000 / seconds if seconds > 0 else 0.0
    done = f"{report.recordings} of {recordings} recordings, {done_h:.2f} of about {total_h:.2f} h of audio"
    return f"{done}, {speed:.1f}x real time, {report.failed} failed, {left}"


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"
