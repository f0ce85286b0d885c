"""A recognizer for tests: `engine.name: tests.kit.engine:Spec`. Deterministic, fast, and it keeps a log of what it was
asked.

The text depends on the samples alone: each half second becomes a word, so that audio that was cut elsewhere reads
differently.
"""

from __future__ import annotations

import hashlib
import os
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np

from schemas.config import SAMPLE_RATE_HZ
from transforms.engines import AlignmentRequest, EngineLost, Hypothesis, Samples, Utterance
from transforms.text.tokens import Token, WordTime, WordTimes

_WORD_MS = 500
_FRAME_SAMPLES = _WORD_MS * SAMPLE_RATE_HZ // 1000
_LEVELS = 1 << 11
"""Samples are rounded to 12 bits before they are hashed: the noise of float arithmetic must not change a word."""
_STEMS = "lake river naïve zwölf don't co-op ürün 🎻 湖水 вода fjord piñata 42 R&D stone harbour".split()
_MARKS = ("", "", "", "", "", "", ",", ",", ".", "?")
_LANGUAGES = ("en", "en", "de", "zh", "ja")


@dataclass(frozen=True)
class Spec:
    """`voice` and `loop_over_s` change the text, and so the run_key; the others do not.

    `log_path`: gets a line an utterance, 'digest pid', appended. `delay_s`: sleeps so long a batch. `raise_on`: fails
    for an utterance whose text has this word. `loop_over_s`: repeats itself in longer utterances. `short_by`: returns
    so many results too few. `broken_while`: fails for all while this file exists. `lose_once`: dies once, as a GPU
    would, and leaves this file.
    """

    log_path: str | None = None
    delay_s: float = 0.0
    voice: str = "a"
    raise_on: str | None = None
    loop_over_s: float | None = None
    short_by: int = 0
    broken_while: str | None = None
    lose_once: str | None = None

    @property
    def key(self) -> Mapping[str, Any]:
        return {"name": "tests", "voice": self.voice, "loop_over_s": self.loop_over_s}

    def checked(self) -> Self:
        return self

    def load(self) -> Recognizer:
        return Recognizer(self)


class Recognizer:
    def __init__(self, spec: Spec) -> None:
        self._spec = spec

    def recognize(self, utterances: Sequence[Utterance]) -> list[Hypothesis]:
        spec = self._spec
        if spec.lose_once and not Path(spec.lose_once).exists():
            Path(spec.lose_once).touch()
            raise EngineLost("the device is gone")
        if spec.broken_while and Path(spec.broken_while).exists():
            raise OSError("the engine is broken")
        if spec.delay_s:
            time.sleep(spec.delay_s)
        found = [self._read(utterance) for utterance in utterances]
        return found[: len(found) - spec.short_by]

    def _read(self, utterance: Utterance) -> Hypothesis:
        language, probability = (utterance.language, 1.0) if utterance.language else detect(utterance.samples)
        words = words_of(utterance.samples, f"{self._spec.voice}/{language}")
        if self._spec.log_path:
            append(self._spec.log_path, f"{digest(' '.join(words))} {os.getpid()}\n")
        if self._spec.raise_on and self._spec.raise_on in words:
            raise ValueError(f"cannot read '{self._spec.raise_on}'")
        if self._spec.loop_over_s and len(utterance.samples) > self._spec.loop_over_s * SAMPLE_RATE_HZ:
            words = ["again"] * len(words)
        return _hypothesis(words, language, probability, len(utterance.samples) * 1000 // SAMPLE_RATE_HZ)


def words_of(samples: Samples, voice: str) -> list[str]:
    """A word for each half second begun, from a hash of its samples."""
    starts = range(0, len(samples), _FRAME_SAMPLES)
    hashes = [_hash(samples[at : at + _FRAME_SAMPLES], voice) for at in starts]
    return [f"{_STEMS[value % 16]}{value // 160 % 1000}{_MARKS[value // 16 % 10]}" for value in hashes]


def detect(samples: Samples) -> tuple[str, float]:
    """A language and how sure it is, as random as the words: neighbours disagree, so that it shows who was asked."""
    value = _hash(samples, "language")
    return _LANGUAGES[value % len(_LANGUAGES)], 0.2 + value // 8 % 80 / 100


def _hash(samples: Samples, salt: str) -> int:
    return zlib.crc32(np.round(samples * _LEVELS).astype(np.int16).tobytes() + salt.encode())


def digest(text: str) -> str:
    """What stands for an utterance in the log."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _hypothesis(words: Sequence[str], language: str, language_probability: float, length_ms: int) -> Hypothesis:
    tokens, at = [], 0
    for index, word in enumerate(words):
        probability = 0.5 + zlib.crc32(word.encode()) % 50 / 100
        tokens.append(
            Token(at, at + len(word), probability, index * _WORD_MS, min((index + 1) * _WORD_MS - 20, length_ms))
        )
        at += len(word) + 1
    return Hypothesis(
        text=" ".join(words),
        language=language,
        language_probability=language_probability,
        tokens=tuple(tokens),
        token_count=len(tokens),
        mean_logprob=-0.25,
    )


def append(path: str, line: str) -> None:
    """One write to a file opened for appending: lines of several processes do not mix, and none is lost when one is
    killed."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)


@dataclass(frozen=True)
class BriefAligner:
    """An aligner that takes 4 s at most, and gives each word as much time as the others."""

    languages: frozenset[str] | None = None
    longest_s: float | None = 4.0

    @property
    def key(self) -> Mapping[str, Any]:
        return {"name": "brief"}

    def checked(self) -> Self:
        return self

    def load(self) -> BriefAligner:
        return self

    def align(self, requests: Sequence[AlignmentRequest]) -> list[WordTimes | None]:
        return [self._times(request) for request in requests]

    def _times(self, request: AlignmentRequest) -> WordTimes:
        edges = np.linspace(0, len(request.samples) * 1000 // SAMPLE_RATE_HZ, len(request.words) + 1, dtype=int)
        return [WordTime(int(start), int(end)) for start, end in pairwise(edges)]


@dataclass(frozen=True)
class ForgetfulAligner:
    """An aligner that breaks its contract: it answers for one text too few."""

    languages: frozenset[str] | None = None

    @property
    def key(self) -> Mapping[str, Any]:
        return {"name": "forgetful"}

    def checked(self) -> Self:
        return self

    def load(self) -> ForgetfulAligner:
        return self

    def align(self, requests: Sequence[AlignmentRequest]) -> list[WordTimes | None]:
        return [None] * (len(requests) - 1)
