"""What is found of speech among silence, noise and music, and what is written where nobody speaks: the whole job beside
faster-whisper, with its VAD and without.

    python -m benchmarks.mixed --recordings 500

Each recording is mixed from the test speech at random: three to five utterances of one or two voices, single digits
among them, 1 to 300 s apart (log-uniform), over digital silence, noise or music of -70 to -20 dBFS; every fourth is a
call with a channel for each voice, which the job is asked to split. Asked for are the words that both the job and
faster-whisper's `transcribe` read in the clean clip, so that what is lost is lost in the mix. A word is found if it
stands, in order, within half a second of its utterance; what stands outside of all is text without speech.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from benchmarks.common import DATA, Transcript, clips, machine, run_job
from schemas.config import SAMPLE_RATE_HZ, load_config
from tests.kit.works import decoded
from transforms.engines.model_files import model_folder
from transforms.lake.session import session
from transforms.text.normalize import normalizer

Samples = NDArray[np.float32]

_FOLDERS = ("timit_nltk_sample", "librispeech_test_other", "pocketsphinx", "famous")
_LONGEST_S = 8.0
_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_SPEECH_DBFS = -25.0
"""Mean power of an utterance's speech; every other voice is up to 30 dB below."""
_NOISES = ("noise2.wav", "noise3.wav", "esc50_3-103051-C-19.wav", "sherpa_tagging_10.wav")
_MUSIC = ("sir_duke_fast.ogg", "snare-accelerate.ogg")
_LEVELS_DBFS = (-70, -60, -50, -45, -35, -20)
_MARGIN_S = 0.5
_BANDS_DB = ((20, "20 dB and more"), (10, "10 to 20 dB"), (-math.inf, "below 10 dB"))


@dataclass(frozen=True)
class Clean:
    """An utterance by itself: 16 kHz, at _SPEECH_DBFS, and the words that are asked for."""

    samples: Samples
    words: tuple[str, ...]


@dataclass(frozen=True)
class Said:
    """An utterance where it stands in a recording, and how far its speech is above the background."""

    start_s: float
    end_s: float
    words: tuple[str, ...]
    snr_db: float


@dataclass(frozen=True)
class Recording:
    path: Path
    background: str
    is_call: bool
    duration_s: float
    said: tuple[Said, ...]


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.mixed")
    parser.add_argument("--recordings", type=int, default=500)
    parser.add_argument("--without-vad", type=int, default=60, help="recordings that faster-whisper reads without VAD")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    random = np.random.default_rng(options.seed)
    read = peer("base")
    with tempfile.TemporaryDirectory() as folder:
        utterances = list(clean(options.data, Path(folder), read, random))
        backgrounds = sounds(options.data)
        recordings = [mixed(Path(folder), at, utterances, backgrounds, random) for at in range(options.recordings)]
        hours = sum(recording.duration_s for recording in recordings) / 3600
        print(f"{machine()}; {len(recordings)} recordings, {hours:.1f} h, seed {options.seed}\n", flush=True)
        few = recordings[: options.without_vad]
        sides = {
            "Lakescribe": (recordings, ours(recordings)),
            "with vad_filter": (recordings, {r.path: read(r.path, True) for r in recordings}),
            f"without, first {len(few)}": (few, {r.path: read(r.path, False) for r in few}),
        }
    report(sides)


def clean(
    data: Path, folder: Path, read: Callable[[Path, bool], Transcript], random: np.random.Generator
) -> Iterator[Clean]:
    """The speech, and of its words those that both sides read in it; clips in which nothing is read are left out."""
    spoken = {clip.path: clip.text for clip in clips(data, *_FOLDERS) if clip.duration_s <= _LONGEST_S}
    digits = sorted((data / "fsdd").glob("*.wav"))
    spoken |= {path: _DIGITS[int(path.name[0])] for path in random.choice(np.array(digits), len(spoken), False)}
    sounds = {folder / f"clean_{at:04d}.flac": leveled(path) for at, path in enumerate(spoken)}
    for path, sound in sounds.items():
        soundfile.write(path, np.clip(sound, -1, 1), SAMPLE_RATE_HZ, subtype="PCM_24")
    by_job = job(list(sounds), "mix")
    for (path, sound), text in zip(sounds.items(), spoken.values(), strict=True):
        words = normal(text)
        for hypothesis in (by_job[path], read(path, False)):
            words = tuple(word for word, there in agreeing(words, normal(hypothesis.text)) if there)
        if words:
            yield Clean(sound, words)


def leveled(path: Path) -> Samples:
    (sound,), _ = decoded(path)
    gain_db = _SPEECH_DBFS - speech_dbfs(sound)
    return np.asarray(sound * 10 ** (gain_db / 20), np.float32)


def speech_dbfs(samples: Samples) -> float:
    """The mean power of the frames within 30 dB of the loudest."""
    powers = np.square(samples[: len(samples) // 320 * 320].reshape(-1, 320)).mean(axis=1)
    return float(10 * np.log10(powers[powers >= powers.max() / 1000].mean()))


def sounds(data: Path) -> dict[str, list[Samples]]:
    """The backgrounds by kind, at a mean power of 0 dBFS, each to be repeated; white and pink noise are made."""
    made = np.random.default_rng(0).standard_normal((2, 30 * SAMPLE_RATE_HZ))
    bins = np.fft.rfft(made[1])
    pink = np.fft.irfft(bins / np.sqrt(np.maximum(np.arange(len(bins)), 1)))
    folder = data / "no_speech"
    noises = [*made[:1], pink, *(decoded(folder / name)[0][0] for name in _NOISES)]
    music = [decoded(folder / name)[0][0] for name in _MUSIC]
    level = lambda sound: (sound / np.sqrt(np.square(sound).mean())).astype(np.float32)  # noqa: E731
    return {"silence": [], "noise": list(map(level, noises)), "music": list(map(level, music))}


def mixed(
    folder: Path, at: int, utterances: list[Clean], backgrounds: dict[str, list[Samples]], random: np.random.Generator
) -> Recording:
    kind = list(backgrounds)[at % len(backgrounds)]
    level_dbfs = float(random.choice(_LEVELS_DBFS)) if backgrounds[kind] else -math.inf
    is_call = at % 4 == 0
    other_db = float(random.choice((0, -10, -20, -30)))
    chosen = [utterances[i] for i in random.choice(len(utterances), random.integers(3, 6), False)]
    gaps = [int(SAMPLE_RATE_HZ * 300 ** random.random()) for _ in range(len(chosen) + 1)]
    total = sum(gaps) + sum(len(one.samples) for one in chosen)
    sound = np.zeros((total, 2 if is_call else 1), np.float32)
    said, first = [], 0
    for turn, (gap, one) in enumerate(zip(gaps, chosen, strict=False)):
        first += gap
        gain_db = other_db * (turn % 2)
        sound[first : first + len(one.samples), turn % 2 if is_call else 0] = one.samples * 10 ** (gain_db / 20)
        last = first + len(one.samples)
        snr_db = _SPEECH_DBFS + gain_db - level_dbfs
        said.append(Said(first / SAMPLE_RATE_HZ, last / SAMPLE_RATE_HZ, one.words, snr_db))
        first = last
    if backgrounds[kind]:
        background = backgrounds[kind][random.integers(len(backgrounds[kind]))]
        sound += (np.resize(background, total) * 10 ** (level_dbfs / 20))[:, None].astype(np.float32)
    path = folder / f"{at:04d}.flac"
    soundfile.write(path, np.clip(sound, -1, 1), SAMPLE_RATE_HZ, subtype="PCM_24")
    return Recording(path, kind, is_call, total / SAMPLE_RATE_HZ, tuple(said))


def ours(recordings: Iterable[Recording]) -> dict[Path, Transcript]:
    mono = [recording.path for recording in recordings if not recording.is_call]
    calls = [recording.path for recording in recordings if recording.is_call]
    return job(mono, "mix") | job(calls, "split")


def job(paths: list[Path], channels: str) -> dict[Path, Transcript]:
    """The whole job with the default configuration and the language given, as faster-whisper is given it."""
    config = load_config("conf/local.yaml", ["language=en", f"audio.channels={channels}"])
    return run_job(session(), paths, config)[0]


def peer(model: str) -> Callable[[Path, bool], Transcript]:
    from faster_whisper import WhisperModel

    whisper: Any = WhisperModel(str(model_folder(model)), device="cpu", compute_type="int8")

    def read(path: Path, with_vad: bool) -> Transcript:
        segments, _ = whisper.transcribe(str(path), language="en", word_timestamps=True, vad_filter=with_vad)
        words = [word for segment in segments for word in segment.words or ()]
        timed = tuple((word.word.strip(), round(word.start * 1000), round(word.end * 1000)) for word in words)
        return Transcript(" ".join(word for word, _, _ in timed), timed)

    return read


def normal(text: str) -> tuple[str, ...]:
    """The words, with numbers as figures."""
    return tuple(normalizer("en").tokens(text))


def agreeing(reference: tuple[str, ...], hypothesis: tuple[str, ...]) -> list[tuple[str, bool]]:
    """Each word of the reference, and whether it stands, in order, in the hypothesis."""
    there = [False] * len(reference)
    for block in SequenceMatcher(None, reference, hypothesis, autojunk=False).get_matching_blocks():
        there[block.a : block.a + block.size] = [True] * block.size
    return list(zip(reference, there, strict=True))


def report(sides: dict[str, tuple[list[Recording], dict[Path, Transcript]]]) -> None:
    found: dict[str, dict[tuple[str, str], list[int]]] = {side: defaultdict(lambda: [0, 0]) for side in sides}
    stray: dict[str, dict[str, list[float]]] = {side: defaultdict(lambda: [0, 0.0]) for side in sides}
    for side, (recordings, transcripts) in sides.items():
        for recording in recordings:
            left = [
                (word, (start or 0) / 1000, (end or 0) / 1000) for word, start, end in transcripts[recording.path].words
            ]
            for said in recording.said:
                inside = [w for w in left if said.start_s - _MARGIN_S <= (w[1] + w[2]) / 2 <= said.end_s + _MARGIN_S]
                left = [word for word in left if word not in inside]
                band = next(name for least, name in _BANDS_DB if said.snr_db >= least)
                counted = agreeing(said.words, normal(" ".join(word for word, _, _ in inside)))
                for row in ((recording.background, band), ("all", band)):
                    found[side][row][0] += sum(there for _, there in counted)
                    found[side][row][1] += len(counted)
            speechless_s = recording.duration_s - sum(
                said.end_s - said.start_s + 2 * _MARGIN_S for said in recording.said
            )
            for background in (recording.background, "all"):
                stray[side][background][0] += len(left)
                stray[side][background][1] += speechless_s / 60
    print(f"| words found | words | {' | '.join(sides)} |\n|---|---{'|---' * len(sides)}|")
    first = next(iter(found.values()))
    for row in sorted(first, key=lambda row: (row[0] != "all", row[0], [name for _, name in _BANDS_DB].index(row[1]))):
        shares = " | ".join(f"{by[row][0] / by[row][1]:.1%}" if by[row][1] else "" for by in found.values())
        print(f"| {row[0]}, {row[1]} | {first[row][1]} | {shares} |")
    print(f"\n| words without speech, a minute | minutes | {' | '.join(sides)} |\n|---|---{'|---' * len(sides)}|")
    counts = next(iter(stray.values()))
    for background in sorted(counts, key=lambda name: (name != "all", name)):
        rates = " | ".join(f"{by[background][0] / by[background][1]:.2f}" for by in stray.values())
        print(f"| {background} | {counts[background][1]:.0f} | {rates} |")


if __name__ == "__main__":
    main()
