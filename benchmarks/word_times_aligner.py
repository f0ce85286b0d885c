"""The word times of the aligner `sphinx` beside those that TIMIT's annotators set by hand, and how often it finds none.

    python -m benchmarks.word_times_aligner --data ../shared/data

The sentences of timit_nltk_sample, alone and joined to chunks of up to 12, 24 and 28 s with 0.2 to 0.5 s of faint noise
between them. The text is the annotators', or the same with six words too many somewhere, as recognizers make them up;
`letters` takes every pronunciation from the letters instead of the dictionary. `plain` is pocketsphinx as it comes.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from pocketsphinx import Decoder

from benchmarks.common import DATA, clips, machine
from schemas.config import SAMPLE_RATE_HZ
from transforms.engines import AlignmentRequest, Samples
from transforms.engines.pronounce import by_rules
from transforms.engines.sphinx import FRAME_MS, SphinxAligner
from transforms.text.tokens import WordTimes

Align = Callable[[AlignmentRequest], WordTimes | None]

CHUNKS_S = (0, 12, 24, 28)
MADE_UP = "thank you very much for watching".split()
SEEDS = range(2)


@dataclass(frozen=True)
class Chunk:
    """`starts_ms` has None for a word that nobody said."""

    samples: Samples
    words: tuple[str, ...]
    starts_ms: tuple[float | None, ...]

    def request(self) -> AlignmentRequest:
        spans, at = [], 0
        for word in self.words:
            spans.append((at, at + len(word)))
            at += len(word) + 1
        return AlignmentRequest(self.samples, " ".join(self.words), tuple(spans), "en")


def sentences(data: Path) -> list[Chunk]:
    chunks = []
    for clip in clips(data, "timit_nltk_sample"):
        samples, rate = soundfile.read(clip.path, dtype="float32")
        assert rate == SAMPLE_RATE_HZ, clip.path
        words, starts_s, _ = zip(*clip.words, strict=True)
        chunks.append(Chunk(samples, words, tuple(1000 * start for start in starts_s)))
    return chunks


def joined(parts: list[Chunk], longest_s: float, seed: int) -> list[Chunk]:
    """The parts in random order, as many to a chunk as fit."""
    noise = np.random.default_rng(seed)
    groups: list[list[Chunk]] = []
    length = longest_s
    for part in random.Random(seed).sample(parts, len(parts)):
        pause = noise.normal(0, 1e-4, int(noise.uniform(0.2, 0.5) * SAMPLE_RATE_HZ)).astype(np.float32)
        padded = Chunk(np.concatenate([part.samples, pause]), part.words, part.starts_ms)
        length += len(padded.samples) / SAMPLE_RATE_HZ
        if length > longest_s:
            groups.append([])
            length = len(padded.samples) / SAMPLE_RATE_HZ
        groups[-1].append(padded)
    return [_concatenated(group) for group in groups]


def _concatenated(group: list[Chunk]) -> Chunk:
    offsets = np.cumsum([0, *(len(part.samples) for part in group)]) * 1000 / SAMPLE_RATE_HZ
    starts = tuple(start + offset for part, offset in zip(group, offsets, strict=False) for start in part.starts_ms)
    return Chunk(np.concatenate([p.samples for p in group]), tuple(w for p in group for w in p.words), starts)


def with_made_up_words(chunk: Chunk, seed: int) -> Chunk:
    at = random.Random(seed).randrange(len(chunk.words) + 1)
    starts = (*chunk.starts_ms[:at], *(None for _ in MADE_UP), *chunk.starts_ms[at:])
    return Chunk(chunk.samples, (*chunk.words[:at], *MADE_UP, *chunk.words[at:]), starts)


def plain() -> Align:
    decoder = Decoder(lm=None, loglevel="FATAL")

    def align(request: AlignmentRequest) -> WordTimes | None:
        decoder.set_align_text(request.text)
        decoder.start_utt()
        decoder.process_raw((request.samples * 32767).astype("<i2").tobytes(), full_utt=True)
        decoder.end_utt()
        found = [segment for segment in decoder.seg() or () if segment.word[0] not in "<["]
        times = [(segment.start_frame * FRAME_MS, (segment.end_frame + 1) * FRAME_MS) for segment in found]
        return list(times) if len(times) == len(request.words) else None

    return align


def sphinx() -> Align:
    aligner = SphinxAligner()
    return lambda request: aligner.align([request])[0]


def by_letters() -> Align:
    aligner = SphinxAligner()
    search = aligner._search

    def name(token: str) -> str:
        if token not in search._added:
            search._decoder.add_word(token + "~rules", by_rules(token), False)
            search._added.add(token)
        return token + "~rules"

    search._name = name  # type: ignore[method-assign]
    return lambda request: aligner.align([request])[0]


def report(name: str, align: Align, longest_s: int, chunks: list[Chunk]) -> None:
    began = time.perf_counter()
    results = [align(chunk.request()) for chunk in chunks]
    speed = sum(len(chunk.samples) for chunk in chunks) / SAMPLE_RATE_HZ / (time.perf_counter() - began)
    errors = [
        given[0] - start
        for chunk, times in zip(chunks, results, strict=True)
        for start, given in zip(chunk.starts_ms, times or [None] * len(chunk.words), strict=True)
        if start is not None and given is not None
    ]
    said = sum(start is not None for chunk in chunks for start in chunk.starts_ms)
    cells = [
        name,
        longest_s or "alone",
        len(chunks),
        sum(times is None for times in results),
        f"{len(errors) / said:.1%}",
    ]
    if errors:
        near = sum(abs(error) <= 50 for error in errors) / len(errors)
        cells += [f"{statistics.median(map(abs, errors)):.0f}", f"{statistics.median(errors):+.0f}", f"{near:.1%}"]
    else:
        cells += ["", "", ""]
    print("|", " | ".join(map(str, [*cells, f"{speed:.0f}"])), "|", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.word_times_aligner")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the test speech, with its manifest.tsv")
    parts = sentences(parser.parse_args().data)
    print(f"{machine()}, one thread\n")
    print("| aligner | chunk, s | chunks | failed | words timed | median error, ms | signed | in 50 ms | x real time |")
    print("|---|---|---|---|---|---|---|---|---|")
    for longest_s in CHUNKS_S:
        right = [chunk for seed in SEEDS for chunk in joined(parts, longest_s, seed)] if longest_s else parts
        wrong = [with_made_up_words(chunk, seed) for seed, chunk in enumerate(right)]
        report("plain", plain(), longest_s, right)
        report("sphinx", sphinx(), longest_s, right)
        report("sphinx, letters", by_letters(), longest_s, right)
        report("plain, made-up words", plain(), longest_s, wrong)
        report("sphinx, made-up words", sphinx(), longest_s, wrong)


if __name__ == "__main__":
    main()
