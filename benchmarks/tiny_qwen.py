"""The tiny checkpoints on voices that they never heard, through the job and through the package qwen-asr.

    python -m benchmarks.tiny_qwen

Speech is made as examples/tiny_qwen makes it (espeak-ng, with exact word times): clips of 1 to 12 words, and recordings
of two minutes, which the job cuts at their pauses. The package is given the right end tokens.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import soundfile

from benchmarks.common import Clip, Transcript, machine, run_job, start_errors_ms, word_error_rate
from schemas.config import SAMPLE_RATE_HZ, load_config
from transforms.lake.session import session

TINY = Path(__file__).parents[1] / "examples" / "tiny_qwen"
_SEED = 99
_SENTENCE_S = 6
_MINUTES_S = 120


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.tiny_qwen")
    parser.add_argument("--clips", type=int, default=100)
    parser.add_argument("--long", type=int, default=4)
    options = parser.parse_args()
    sys.path.insert(0, str(TINY))  # the scripts that make the speech stand alone there
    config = load_config("examples/tiny_qwen/config.yaml", [f"{key}={TINY / name}" for key, name in MODELS.items()])
    print(f"Tiny checkpoints, {machine()}\n")
    print("| | | word error rate | median word start error | matched words |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        sets = made(Path(folder), options.clips, options.long)
        everything = [clip for some in sets.values() for clip in some]
        ours, _ = run_job(session(), [clip.path for clip in everything], config)
        theirs = by_package(everything)
        for name, some in sets.items():
            for side, read in (("job", ours), ("qwen-asr 0.0.6", theirs)):
                found = [read[clip.path.resolve()] for clip in some]
                rate = word_error_rate([clip.text for clip in some], [transcript.text for transcript in found])
                errors = [abs(e) for clip, one in zip(some, found, strict=True) for e in start_errors_ms(clip, one)]
                median = f"{statistics.median(errors):.0f} ms" if errors else "–"
                print(f"| {name} | {side} | {rate:.1%} | {median} | {len(errors)} |")


MODELS = {"engine.options.model": "recognizer", "aligner_options.qwen.model": "aligner"}


def made(folder: Path, clips: int, long: int) -> dict[str, list[Clip]]:
    """Speech in unheard voices, by the kind of it."""
    from grammar import random_words
    from sounds import in_silence, joined, speech, with_noise
    from voices import Speaker

    speaker, rng, noise_rng = Speaker(), Random(_SEED), np.random.default_rng(_SEED)

    def said(language: str, words: list[str] | None = None) -> Any:
        return with_noise(speech(speaker, rng, language=language, words=words, heard=False), rng, noise_rng)

    def minutes(language: str) -> Any:
        parts, length_s = [], 0.0
        while length_s < _MINUTES_S:
            one = said(language)
            if one.seconds <= _SENTENCE_S:
                parts.append(in_silence(one, 0.0, rng.uniform(0.6, 1.0)))
                length_s += parts[-1].seconds
        return joined(parts)

    languages = ["English", "English", "German"]
    short = [
        said(languages[k % 3], random_words(rng, languages[k % 3], 1 + k % 12)) if k % 2 else said(languages[k % 3])
        for k in range(clips)
    ]
    kinds = {
        f"{clips} clips up to 12 words": short,
        f"{long} recordings of 2 minutes": [minutes(languages[k % 3]) for k in range(long)],
    }
    return {
        kind: [_written(folder / f"{number}_{index:03d}.wav", one) for index, one in enumerate(some)]
        for number, (kind, some) in enumerate(kinds.items())
    }


def _written(path: Path, spoken: Any) -> Clip:
    soundfile.write(path, spoken.samples, SAMPLE_RATE_HZ, subtype="PCM_16")
    times = tuple((word, start, end) for word, (start, end) in zip(spoken.words, spoken.times_s, strict=True))
    return Clip(path.resolve(), spoken.seconds, spoken.text, times)


def by_package(clips: list[Clip]) -> dict[Path, Transcript]:
    import torch
    from qwen_asr.inference.qwen3_forced_aligner import Qwen3ForcedAligner
    from scores import load_recognizer

    package = load_recognizer(TINY / "recognizer")
    package.max_new_tokens = 512
    package.forced_aligner = Qwen3ForcedAligner.from_pretrained(str(TINY / "aligner"), dtype=torch.float32)
    found = {}
    for clip in clips:
        samples, _ = soundfile.read(clip.path, dtype="float32")
        (result,) = package.transcribe((samples, SAMPLE_RATE_HZ), return_time_stamps=True)
        items = result.time_stamps or ()
        words = tuple((i.text, round(i.start_time * 1000), round(i.end_time * 1000)) for i in items)
        found[clip.path.resolve()] = Transcript(result.text, words)
    return found


if __name__ == "__main__":
    main()
