"""A recognizer in one page, for the tests of what stands around it: spec and engine in one."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.kit.objects import in_memory
from transforms.audio.front import Chunk
from transforms.engines import EngineLost, Hypothesis, Samples, Utterance
from transforms.text.tokens import Token


def read(samples: Samples) -> str:
    """A word for each half second begun, from the samples in it."""
    pieces = [np.round(samples[at : at + 8000] * 2048).astype(np.int16) for at in range(0, len(samples), 8000)]
    return " ".join(f"w{zlib.crc32(piece.tobytes()) % 10**6}." for piece in pieces)


@dataclass(frozen=True)
class Reader:
    """Detects French in what is `clear_from_s` long, in shorter audio German, hardly. Cannot read the text `bad`; says
    one word over and over in what is longer than `loops_from_s`; returns `short_by` results too few; is `lost` at once.

    `asked` are the languages of the utterances, `chunks` how many chunks were in memory at each call. Two that are
    equal are one to the worker, which keeps its engine: `number` tells them apart.
    """

    number: int = 0
    clear_from_s: float = 0.0
    bad: str | None = None
    loops_from_s: float = 1e9
    short_by: int = 0
    lost: bool = False
    asked: list[str | None] = field(default_factory=list, compare=False)
    chunks: list[int] = field(default_factory=list, compare=False)

    @property
    def key(self) -> Mapping[str, Any]:
        return {"name": "reader"}

    def load(self) -> Reader:
        return self

    def recognize(self, utterances: Sequence[Utterance]) -> list[Hypothesis]:
        if self.lost:
            raise EngineLost("the device is gone")
        self.asked.extend(utterance.language for utterance in utterances)
        self.chunks.append(len(in_memory(Chunk)))
        return [self._read(utterance) for utterance in utterances][self.short_by :]

    def _read(self, utterance: Utterance) -> Hypothesis:
        seconds = len(utterance.samples) / 16_000
        detected = ("fr", 0.9) if seconds >= self.clear_from_s else ("de", 0.3)
        language, probability = (utterance.language, 1.0) if utterance.language else detected
        text = read(utterance.samples)
        if text == self.bad:
            raise ValueError("cannot read this")
        words = ["again"] * len(text.split()) if seconds > self.loops_from_s else text.split()
        text, tokens, at = " ".join(words), [], 0
        for index, word in enumerate(words):
            tokens.append(Token(at, at + len(word), 0.8, index * 500, index * 500 + 400))
            at += len(word) + 1
        return Hypothesis(text, language, probability, tuple(tokens), len(tokens), -0.1)
