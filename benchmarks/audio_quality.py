"""What the front end (fetch, decode, VAD) costs, and measuring the audio's quality in it, in CPU time. Both are taken
from the same runs: with and without in turns differ by less than two runs of the same do.

    python -m benchmarks.audio_quality
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np
import soundfile
import soxr

from benchmarks.common import machine
from schemas.config import Config
from tests.kit.sounds import written
from tests.kit.works import work
from transforms.audio.front import StageClock, front
from transforms.audio.quality import Meter, VoicePower

EXAMPLE = "examples/audio/long_talk.mp3"
KINDS = (
    (8_000, 1, "WAV"),
    (16_000, 1, "FLAC"),
    (16_000, 1, "MP3"),
    (44_100, 2, "MP3"),
    (48_000, 1, "WAV"),
    (48_000, 2, "FLAC"),
)
_AUDIO_S = 60


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.audio_quality")
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    columns = f"{EXAMPLE} as | front end, ms a second of audio | times real time on a core | quality, of all else"
    print(f"{machine()}\n\n| {columns} |\n|---|---|---|---|")
    talk, talk_hz = soundfile.read(EXAMPLE, dtype="float32")
    talk = talk[: _AUDIO_S * talk_hz]
    for rate_hz, channels, kind in KINDS:
        sound = np.clip(soxr.resample(talk, talk_hz, rate_hz), -1, 1).astype(np.float32)
        content = written(np.stack([sound] * channels, axis=1), rate_hz, kind)
        front_ms(content)  # the libraries load
        with counted() as quality_ms:
            total_ms = sum(front_ms(content) for _ in range(options.turns))
        plain_ms = total_ms - sum(quality_ms)
        a_second, share = total_ms / options.turns / _AUDIO_S, sum(quality_ms) / plain_ms
        what = f"{kind}, {rate_hz} Hz, {channels} ch"
        print(f"| {what} | {a_second:.2f} | {1000 / a_second:.0f} | {share:.1%} |", flush=True)


def front_ms(content: bytes) -> float:
    """CPU milliseconds of this process: decoding has a thread of its own."""
    started = time.process_time()
    for _ in front(work(content), Config(), StageClock()):
        pass
    return 1000 * (time.process_time() - started)


@contextmanager
def counted() -> Iterator[list[float]]:
    """CPU milliseconds of each call into transforms/audio/quality.py."""
    spent_ms: list[float] = []

    def counting(call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any) -> Any:
            started = time.thread_time()
            try:
                return call(*arguments)
            finally:
                spent_ms.append(1000 * (time.thread_time() - started))

        return timed

    methods = {name: counting(getattr(Meter, name)) for name in ("open", "push", "finish")}
    with patch.multiple(Meter, **methods), patch.multiple(VoicePower, add=counting(VoicePower.add)):
        yield spent_ms


if __name__ == "__main__":
    main()
