"""Error rate, word times and speed of the whole job beside faster-whisper's own `transcribe(word_timestamps=True)`.

    python -m benchmarks.against_faster_whisper --data ../shared/data

Same model, one run, both with all cores. Error rate on librispeech_test_other, word starts on the hand-timed
timit_nltk_sample, speed on all the speech of the folder but fsdd: the job's time is from plan to published tables, with
Spark already started; the peer's is without loading its model.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

from benchmarks.common import DATA, Clip, Transcript, clips, machine, run_job, start_errors_ms, word_error_rate
from schemas.config import load_config
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
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override a key of conf/local.yaml"
    )
    options = parser.parse_args()
    speech = clips(options.data, *FOLDERS)
    libri, timit = (clips(options.data, folder) for folder in ("librispeech_test_other", "timit_nltk_sample"))
    config = load_config("conf/local.yaml", [f"engine.options.model={options.model}", *options.set])
    spark = session()
    # Once without the clock: Spark's classes and the workers' models are loaded then, as the peer's model is below.
    run_job(spark, [clip.path for clip in timit[:4]], config)
    ours, summary = run_job(spark, [clip.path for clip in speech], config)
    theirs, their_s = peer(speech, options.model)
    sides = (ours, theirs)
    audio_s = sum(clip.duration_s for clip in speech)

    print(f"Whisper {options.model}, {machine()}\n")
    print("| | Lakescribe | faster-whisper | |\n|---|---|---|---|")
    rates = [word_error_rate([c.text for c in libri], [side[c.path.resolve()].text for c in libri]) for side in sides]
    points = 100 * (rates[0] - rates[1])
    print(f"| word error rate, {len(libri)} clips | {rates[0]:.2%} | {rates[1]:.2%} | {points:+.2f} points |")
    errors = [absolute(timit, side) for side in sides]
    medians = [statistics.median(side) for side in errors]
    within = [sum(error <= 50 for error in side) / len(side) for side in errors]
    print(
        f"| median start error | {medians[0]:.0f} ms | {medians[1]:.0f} ms | {len(errors[0])}, {len(errors[1])} words |"
    )
    print(f"| starts within 50 ms | {within[0]:.0%} | {within[1]:.0%} | |")
    times = [audio_s / summary.wall_s, audio_s / their_s]
    faster = f"{their_s / summary.wall_s:.2f} × as fast"
    print(f"| times real time, {audio_s / 60:.1f} min | {times[0]:.1f} | {times[1]:.1f} | {faster} |")


def absolute(timed: list[Clip], side: dict[Path, Transcript]) -> list[float]:
    return [abs(error) for clip in timed for error in start_errors_ms(clip, side[clip.path.resolve()])]


def peer(speech: list[Clip], model: str) -> tuple[dict[Path, Transcript], float]:
    """faster-whisper over the clips one after another, with its defaults and word times, and the seconds it took."""
    from faster_whisper import WhisperModel

    whisper: Any = WhisperModel(str(model_folder(model)), device="cpu", compute_type="int8")
    found: dict[Path, Transcript] = {}
    started = time.monotonic()
    for clip in speech:
        segments, _ = whisper.transcribe(str(clip.path), word_timestamps=True)
        read = list(segments)
        words = [(w.word.strip(), round(w.start * 1000), round(w.end * 1000)) for s in read for w in s.words or ()]
        found[clip.path.resolve()] = Transcript(" ".join(s.text.strip() for s in read), tuple(words))
    return found, time.monotonic() - started


if __name__ == "__main__":
    main()
