"""What one more reading of an utterance costs that is still being said: going on from the last, and anew.

    python -m benchmarks.growing --data ../shared/data

An utterance of 28 s is read each half second, one session alone, on one thread; CPU milliseconds of a reading, by how
much was said. With the trained tiny checkpoint (speech of benchmarks.tiny_qwen), whose words stand once two readings
agree, and with a random one of 52 M parameters and the real vocabulary: 4 tokens for each second of speech, of which
those of the last two seconds are read again.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import soundfile

from benchmarks.against_qwen_asr import TOKENS_PER_S, mixed, our_recognizer
from benchmarks.common import DATA, machine
from benchmarks.random_qwen import make
from benchmarks.tiny_qwen import TINY, made
from schemas.config import SAMPLE_RATE_HZ
from transforms.engines import Growth, Hypothesis, Samples, Utterance
from transforms.live.agreement import Agreement

_UTTERANCE_S = 28
_STEP_S = 0.5
_PARTS_S = [(1, 7), (7, 14), (14, 21), (21, 28)]
_UNSETTLED_S = 2

Stands = Callable[[Hypothesis], str]


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.growing")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--utterances", type=int, default=3)
    options = parser.parse_args()
    print(f"One thread, {machine()}\n")
    columns = " | ".join(f"{first} to {last} s" for first, last in _PARTS_S)
    print(f"| CPU ms of a reading, of what is {_UTTERANCE_S} s long in the end | {columns} |")
    print("|---|" + "---|" * len(_PARTS_S))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for name, engine, utterances, stands in (*tiny(folder, options.utterances), *mid(folder, options)):
            engine.recognize([Utterance(utterances[0])])
            on, anew = [], []
            for samples in utterances:
                on.append(readings_ms(engine, samples, stands(), grows=True))
                anew.append(readings_ms(engine, samples, stands(), grows=False))
            print(row(f"{name}, anew", anew))
            print(row(f"{name}, going on", on), flush=True)


def tiny(folder: Path, count: int) -> Iterator[tuple[str, Any, list[Samples], Callable[[], Stands]]]:
    from transforms.engines.qwen.recognizer import QwenSpec

    sys.path.insert(0, str(TINY))
    (clips,) = (some for some in made(folder, 0, count).values() if some)
    utterances = [soundfile.read(clip.path, dtype="float32")[0][: _UTTERANCE_S * SAMPLE_RATE_HZ] for clip in clips]
    engine = QwenSpec(model=str(TINY / "recognizer")).checked().load()
    yield "tiny checkpoint", engine, utterances, agreeing


def mid(folder: Path, options: argparse.Namespace) -> Iterator[tuple[str, Any, list[Samples], Callable[[], Stands]]]:
    make("mid", folder / "recognizer")
    length = _UTTERANCE_S * SAMPLE_RATE_HZ
    stream = np.concatenate(mixed(options.data, 4 * options.utterances))
    utterances = [stream[length * index : length * (index + 1)] for index in range(options.utterances)]
    yield "52 M parameters, random", our_recognizer(folder), utterances, all_but_the_last


def agreeing() -> Stands:
    agreement = Agreement()
    return lambda found: agreement.hear(found.text, found.language)[0]


def all_but_the_last() -> Stands:
    return lambda found: found.text[: max(0, len(found.text) - _UNSETTLED_S * TOKENS_PER_S)]


def readings_ms(engine: Any, samples: Samples, stands: Stands, grows: bool) -> dict[float, float]:
    """CPU milliseconds of each reading, by the seconds that were said."""
    growth, found_ms, said_s = Growth(), dict[float, float](), 1.0
    while said_s * SAMPLE_RATE_HZ <= len(samples):
        so_far = samples[: int(said_s * SAMPLE_RATE_HZ)].copy()
        began_at = time.process_time()
        (found,) = engine.recognize([Utterance(so_far, growth=growth if grows else None)])
        found_ms[said_s] = 1000 * (time.process_time() - began_at)
        growth.standing = stands(found)
        said_s += _STEP_S
    return found_ms


def row(name: str, measured: list[dict[float, float]]) -> str:
    means = [
        mean(ms for one in measured for said_s, ms in one.items() if first <= said_s < last) for first, last in _PARTS_S
    ]
    return f"| {name} | " + " | ".join(f"{ms:.0f}" for ms in means) + " |"


if __name__ == "__main__":
    main()
