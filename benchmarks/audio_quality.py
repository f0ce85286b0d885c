"""What measuring the audio's quality costs the front end (fetch, decode, VAD): the same recordings with and without, in
turns, in one thread's CPU time.

    python -m benchmarks.audio_quality
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np
import soundfile
import soxr

from benchmarks.common import machine
from schemas.config import Config
from tests.sounds import written
from tests.transforms.works import work
from transforms.front import StageClock, front
from transforms.quality import Meter, VoicePower

EXAMPLE = "examples/audio/long_talk.mp3"
KINDS = ((8_000, 1, "WAV"), (16_000, 1, "FLAC"), (44_100, 2, "MP3"), (48_000, 1, "WAV"), (48_000, 2, "FLAC"))
_AUDIO_S = 60


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.audio_quality")
    parser.add_argument("--turns", type=int, default=20)
    options = parser.parse_args()
    print(f"{machine()}\n\n| {EXAMPLE} as | front end, ms a second of audio | of it quality |\n|---|---|---|")
    talk, talk_hz = soundfile.read(EXAMPLE, dtype="float32")
    talk = talk[: _AUDIO_S * talk_hz]
    for rate_hz, channels, kind in KINDS:
        sound = np.clip(soxr.resample(talk, talk_hz, rate_hz), -1, 1).astype(np.float32)
        content = written(np.stack([sound] * channels, axis=1), rate_hz, kind)
        front_ms(content)  # the libraries load
        measured_ms, plain_ms = [], []
        for _ in range(options.turns):
            measured_ms.append(front_ms(content))
            with unmeasured():
                plain_ms.append(front_ms(content))
        # The least of each: other work on the machine only ever adds.
        plain, cost = min(plain_ms), min(measured_ms) - min(plain_ms)
        print(
            f"| {kind}, {rate_hz} Hz, {channels} channels | {plain / _AUDIO_S:.2f} | {cost / plain:.1%} |", flush=True
        )


def front_ms(content: bytes) -> float:
    """CPU milliseconds of this thread; all of the front end runs in it."""
    started = time.thread_time()
    for _ in front(work(content), Config(), StageClock()):
        pass
    return 1000 * (time.thread_time() - started)


@contextmanager
def unmeasured() -> Iterator[None]:
    def nothing(*_: Any) -> None:
        return None

    with (
        patch.multiple(Meter, open=nothing, push=nothing, finish=nothing),
        patch.multiple(VoicePower, add=nothing),
    ):
        yield


if __name__ == "__main__":
    main()
