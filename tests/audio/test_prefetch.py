from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from schemas.config import Config
from tests.kit.sounds import noise, written
from tests.kit.works import heard, work
from transforms.audio.front import Chunk, Closing, Work
from transforms.audio.prefetch import Prefetch

_MIB = 1 << 20


def _config(threads: int = 2, prefetch_mib: int = 64, **sections: Any) -> Config:
    return Config.model_validate({"batching": {"front_threads": threads, "prefetch_mib": prefetch_mib}} | sections)


def _events(front_end: Prefetch) -> Iterator[Chunk | Closing]:
    while (event := front_end.next(wait=True)) is not None:
        yield event
    assert front_end.ended


def _until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.01)


def _front_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("front-")]


def _works(examples: Path) -> list[Work]:
    names = [
        "interview_clip.wav",
        "damaged.mp3",
        "silence.wav",
        "support_call_stereo.flac",
        "missing.wav",
        "voice_memo.m4a",
    ]
    return [work(examples / name, audio_id=name, channels="split") for name in names]


@pytest.mark.parametrize("threads", [1, 4])
def test_events_of_a_recording_are_those_of_the_front_end_in_order(examples: Path, threads: int) -> None:
    works = _works(examples)
    found: dict[str, list[Chunk | Closing]] = defaultdict(list)
    with Prefetch(works, _config(threads)) as front_end:
        for event in _events(front_end):
            found[event.work.audio_id].append(event)
    assert set(found) == {job.audio_id for job in works}
    for job in works:
        chunks, closing = heard(job)
        *found_chunks, last = found[job.audio_id]
        assert isinstance(last, Closing)
        assert (last.chunk_count, last.duration_ms, last.flags) == (len(chunks), closing.duration_ms, closing.flags)
        assert str(last.error) == str(closing.error)
        assert len(found_chunks) == len(chunks)
        for chunk, expected in zip(found_chunks, chunks, strict=True):
            assert isinstance(chunk, Chunk)
            assert (chunk.channel, chunk.start_ms) == (expected.channel, expected.start_ms)
            assert np.array_equal(chunk.samples, expected.samples)
    assert _front_threads() == []
    assert set(front_end.stage_seconds) == {"fetch", "decode", "vad"}


def _endless(chunk_s: float) -> Config:
    """All is speech, in chunks of so many seconds."""
    vad = {"threshold": 1e-9, "end_threshold": 1e-9, "pad_ms": 0}
    return _config(3, 1, vad=vad, packing={"max_chunk_s": chunk_s}, audio={"block_s": 5})


@pytest.mark.parametrize("chunk_s", [2.0, 28.0])
def test_what_waits_is_bounded_and_nothing_is_stuck(chunk_s: float) -> None:
    """A chunk of 28 s is over the whole budget of 1 MiB: it waits alone."""
    sound = written(noise(60), 16_000)
    works = [work(sound, audio_id=str(index)) for index in range(4)]
    with Prefetch(works, _endless(chunk_s)) as front_end:
        _until(lambda: front_end._waiting_bytes > 0)
        time.sleep(0.5)  # long enough to run over, if it did
        waiting = [event for event in front_end._events if isinstance(event, Chunk)]
        assert len(waiting) == 1 or sum(chunk.samples.nbytes for chunk in waiting) <= _MIB
        events = list(_events(front_end))
    assert sum(isinstance(event, Closing) for event in events) == 4
    assert sum(len(event.samples) for event in events if isinstance(event, Chunk)) == 4 * 60 * 16_000
    assert front_end._waiting_bytes == 0


def test_without_waiting_there_may_be_nothing_yet() -> None:
    gate = threading.Event()

    def late() -> Iterator[Work]:
        gate.wait(20)
        yield work(b"-")

    with Prefetch(late(), _config()) as front_end:
        assert front_end.next(wait=False) is None
        assert not front_end.ended
        gate.set()
        assert isinstance(front_end.next(wait=True), Closing)
        assert front_end.next(wait=True) is None


@pytest.mark.parametrize("threads", [1, 3])
def test_an_error_of_the_task_itself_is_raised_where_the_task_is(threads: int) -> None:
    """The rows that come from Spark may break off; that is no recording's fault."""

    def broken() -> Iterator[Work]:
        yield work(b"-", audio_id="first")
        raise OSError("the JVM is gone")

    def run() -> None:
        with Prefetch(broken(), _config(threads)) as front_end:
            for event in _events(front_end):
                assert event.work.audio_id == "first"

    with pytest.raises(OSError, match="the JVM is gone"):
        run()
    _until(lambda: not _front_threads())


def test_threads_end_when_the_task_breaks_off() -> None:
    """Also those that wait for room."""
    works = [work(written(noise(60), 16_000), audio_id=str(index)) for index in range(50)]

    def run() -> None:
        with Prefetch(works, _endless(2.0)) as front_end:
            assert front_end.next(wait=True) is not None
            _until(lambda: front_end._waiting_bytes > _MIB // 2)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run()
    _until(lambda: not _front_threads())
