"""Error rate, word times and speed of the whole job beside faster-whisper, with the same model.

    python -m benchmarks.against_faster_whisper --data ../shared/data                 # short clips
    python -m benchmarks.against_faster_whisper --data ../shared/data --long 60 --recordings 2  # of an hour each

By turns, both with all cores. The job's time is from plan to published tables, with Spark already started; the peer's
is without loading its model. Short clips: beside `transcribe(word_timestamps=True)`; error rate on
librispeech_test_other, word starts on the hand-timed timit_nltk_sample, speed on all the speech of the folder but fsdd.
Long recordings: the clips of librispeech_test_other in random order, again and again, with pauses of 0.3 to 2 s, beside
`BatchedInferencePipeline(batch_size=8, word_timestamps=True)`.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from benchmarks.common import DATA, Clip, Transcript, clips, machine, run_job, start_errors_ms, word_error_rate
from schemas.config import SAMPLE_RATE_HZ, load_config
from transforms.engines.model_files import model_folder
from transforms.lake.session import session

FOLDERS = (
    *("librispeech_test_other", "librispeech_misc", "ljspeech_coqui", "pocketsphinx", "famous", "timit_nltk_sample"),
    *("praatio", "mfa_conversational", "multilang", "speaker_turns", "no_speech"),
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.against_faster_whisper")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--model", default="base")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--long", type=float, metavar="MINUTES", help="long recordings instead of short clips")
    parser.add_argument("--recordings", type=int, default=1, help="how many long ones")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override a key of conf/local.yaml"
    )
    options = parser.parse_args()
    config = load_config("conf/local.yaml", [f"engine.options.model={options.model}", *options.set])
    with tempfile.TemporaryDirectory() as folder:
        if options.long:
            paths = [Path(folder) / f"long-{number}.flac" for number in range(options.recordings)]
            speech = [joined(options.data, options.long * 60, path, number) for number, path in enumerate(paths)]
        else:
            speech = clips(options.data, *FOLDERS)
        audio_s = sum(clip.duration_s for clip in speech)
        spark = session()
        # Once without the clock: Spark's classes and the workers' models are loaded then, as the peer's model is.
        run_job(spark, [clip.path for clip in clips(options.data, "timit_nltk_sample")[:4]], config)
        read = Peer(options.model, batched=bool(options.long))
        rounds = []
        for _ in range(options.rounds):
            began_at = time.monotonic()
            theirs = {clip.path.resolve(): read(clip.path) for clip in speech}
            their_s = time.monotonic() - began_at
            ours, summary = run_job(spark, [clip.path for clip in speech], config)
            rounds.append((summary.wall_s, their_s))
    print(f"Whisper {options.model}, {machine()}\n")
    print("| | Lakescribe | faster-whisper | |\n|---|---|---|---|")
    if options.long:
        say_error_rates(speech, ours, theirs)
    else:
        say_error_rates(clips(options.data, "librispeech_test_other"), ours, theirs)
        say_word_times(clips(options.data, "timit_nltk_sample"), ours, theirs)
    our_s, their_s = (sum(times) / len(rounds) for times in zip(*rounds, strict=True))
    speeds = f"{audio_s / our_s:.1f} | {audio_s / their_s:.1f}"
    print(f"| times real time, {audio_s / 60:.1f} min | {speeds} | {their_s / our_s:.2f} × as fast |")


Read = dict[Path, Transcript]


def say_error_rates(spoken: list[Clip], ours: Read, theirs: Read) -> None:
    said = [clip.text for clip in spoken]
    our, their = (word_error_rate(said, [side[c.path.resolve()].text for c in spoken]) for side in (ours, theirs))
    count = f", {len(spoken)} clips" if len(spoken) > 1 else ""
    print(f"| word error rate{count} | {our:.2%} | {their:.2%} | {100 * (our - their):+.2f} points |")


def say_word_times(timed: list[Clip], ours: Read, theirs: Read) -> None:
    errors = [absolute(timed, side) for side in (ours, theirs)]
    medians = [statistics.median(side) for side in errors]
    within = [sum(error <= 50 for error in side) / len(side) for side in errors]
    counts = f"{len(errors[0])}, {len(errors[1])} words"
    print(f"| median start error | {medians[0]:.0f} ms | {medians[1]:.0f} ms | {counts} |")
    print(f"| starts within 50 ms | {within[0]:.0%} | {within[1]:.0%} | |")


def joined(data: Path, least_s: float, path: Path, seed: int) -> Clip:
    """Clips of librispeech_test_other in random order, all of them again and again, as one recording with its text."""
    rng, texts, length_s = random.Random(seed), list[str](), 0.0
    spoken = clips(data, "librispeech_test_other")
    with soundfile.SoundFile(path, "w", SAMPLE_RATE_HZ, 1, format="FLAC") as file:
        while length_s < least_s:
            for clip in rng.sample(spoken, len(spoken)):
                samples, _ = soundfile.read(clip.path, dtype="float32")
                pause = np.zeros(int(rng.uniform(0.3, 2.0) * SAMPLE_RATE_HZ), np.float32)
                file.write(np.concatenate([samples, pause]))
                texts.append(clip.text)
                length_s += (len(samples) + len(pause)) / SAMPLE_RATE_HZ
                if length_s >= least_s:
                    break
    return Clip(path, length_s, " ".join(texts), ())


def absolute(timed: list[Clip], side: Read) -> list[float]:
    return [abs(error) for clip in timed for error in start_errors_ms(clip, side[clip.path.resolve()])]


class Peer:
    """faster-whisper with its defaults and word times, one recording after another."""

    def __init__(self, model: str, batched: bool) -> None:
        from faster_whisper import BatchedInferencePipeline, WhisperModel

        whisper: Any = WhisperModel(str(model_folder(model)), device="cpu", compute_type="int8")
        self._whisper: Any = BatchedInferencePipeline(whisper) if batched else whisper
        self._options = {"batch_size": 8} if batched else {}

    def __call__(self, path: Path) -> Transcript:
        segments, _ = self._whisper.transcribe(str(path), word_timestamps=True, **self._options)
        read = list(segments)
        words = [(w.word.strip(), round(w.start * 1000), round(w.end * 1000)) for s in read for w in s.words or ()]
        return Transcript(" ".join(s.text.strip() for s in read), tuple(words))


if __name__ == "__main__":
    main()
