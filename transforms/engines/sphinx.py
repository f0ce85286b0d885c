"""Word times by forced alignment with pocketsphinx: no GPU, and its English model and dictionary come in its wheel.

The text becomes a chain of words of the dictionary with optional pauses between them, and the search finds the frames
of each. A result depends on nothing but its request: features are normalised by the utterance, and words that were
added to the dictionary cannot be looked up.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from itertools import islice
from typing import Any

import numpy as np

from schemas.config import SAMPLE_RATE_HZ
from transforms.engines import AlignmentRequest, Samples
from transforms.engines.pronounce import pronunciations
from transforms.packages import require_packages
from transforms.text.tokens import WordTime, WordTimes

_PACKAGES = ("pocketsphinx", "num2words")
ALGORITHM = 2
"""Part of the key: to be raised with every change here, in spoken.py or in pronounce.py that changes times."""

FRAME_MS = 10
_WINDOW_MS = 25.625
OFFSET_MS = round((_WINDOW_MS - FRAME_MS) / 2)
"""Frame i is computed from a window that starts at 10 i ms, and so describes the 10 ms in the window's middle. Without
this, the aligner's starts lie 8 ms (median) before those that TIMIT's annotators set; with it, 0 ms."""

_BEAM = 1e-300
"""As wide as a double allows. The default of 1e-48 fails where the text has a few words too many."""
_NO_PRUNING = 0.0
_LONGEST_UNPRUNED_S = 60
"""Without pruning, time and memory grow with the square of the length: 26 times real time at 28 s, 16 times at 60 s."""

_SHORTEST_SAMPLES = SAMPLE_RATE_HZ // 10
_WORST_FIT = -4.5
"""Nats a frame, relative to the best state in play. Right texts lie from -1 to -3, also by telephone; texts with half
of their words wrong around -4, the texts of other recordings around -7."""
_LONGEST_PHONE_MS = 400
"""Mean over a word's phones. The slowest of 4,700 words of TIMIT has 280."""
_QUIET_DB = 35.0
"""How far the loudest 10 ms of a word may lie under the median word's. In TIMIT, 2 of 4,700 words lie 30 dB lower."""
_SILENCE_DBFS = -70.0


@dataclass(frozen=True)
class SphinxSpec:
    """English only, no options."""

    @property
    def longest_s(self) -> None:
        return None

    @property
    def languages(self) -> frozenset[str]:
        return frozenset({"en"})

    @property
    def key(self) -> Mapping[str, Any]:
        versions = {package: metadata.version(package) for package in _PACKAGES}
        return {"name": "sphinx", "algorithm": ALGORITHM, **versions}

    def checked(self) -> SphinxSpec:
        require_packages("aligner 'sphinx'", _PACKAGES, " ".join(_PACKAGES))
        return self

    def load(self) -> SphinxAligner:
        return SphinxAligner()


class SphinxAligner:
    def __init__(self) -> None:
        self._search = _Search(_BEAM)
        self._unpruned: _Search | None = None

    def align(self, requests: Sequence[AlignmentRequest]) -> list[WordTimes | None]:
        """None where the text does not fit the audio; a word that is not spoken or lies over silence has no time."""
        return [self._align(request) for request in requests]

    def _align(self, request: AlignmentRequest) -> WordTimes | None:
        from transforms.engines.spoken import spoken

        if not request.words:
            return []
        said = spoken([request.text[start:end] for start, end in request.words], self._search.knows)
        tokens = [token for word in said for token in word]
        if not tokens or len(request.samples) < _SHORTEST_SAMPLES:
            return None
        found = self._found(request.samples, tokens)
        if found is None or _fit(found) < _WORST_FIT:
            return None
        remaining = iter(found)
        times = [_time(list(islice(remaining, len(word))), len(request.samples)) for word in said]
        times = _without_silent(times, request.samples)
        return times if any(times) else None

    def _found(self, samples: Samples, tokens: Sequence[str]) -> list[_Spoken] | None:
        audio = np.rint(np.clip(samples, -1.0, 1.0) * 32767).astype("<i2").tobytes()
        found = self._search.find(audio, tokens)
        if found is None and len(samples) <= _LONGEST_UNPRUNED_S * SAMPLE_RATE_HZ:
            self._unpruned = self._unpruned or _Search(_NO_PRUNING)
            found = self._unpruned.find(audio, tokens)
        return found


@dataclass(frozen=True)
class _Spoken:
    """Where one token was found. `last_frame` is its own; `score` is its log likelihood in nats."""

    first_frame: int
    last_frame: int
    phones: int
    score: float

    @property
    def frames(self) -> int:
        return self.last_frame - self.first_frame + 1


def _fit(found: Sequence[_Spoken]) -> float:
    return sum(token.score for token in found) / sum(token.frames for token in found)


def _time(found: Sequence[_Spoken], samples: int) -> WordTime | None:
    """The time of a word that is said in these tokens; None if there are none or they are drawn out absurdly."""
    longest_ms = _LONGEST_PHONE_MS * sum(token.phones for token in found)
    if not found or sum(token.frames for token in found) * FRAME_MS > longest_ms:
        return None
    start_ms = found[0].first_frame * FRAME_MS + OFFSET_MS
    end_ms = min((found[-1].last_frame + 1) * FRAME_MS + OFFSET_MS, samples * 1000 // SAMPLE_RATE_HZ)
    return WordTime(start_ms, end_ms) if start_ms < end_ms else None


def _without_silent(times: WordTimes, samples: Samples) -> WordTimes:
    """`times` without those over silence, in which a recognizer may have heard a 'Thank you'."""
    frame = SAMPLE_RATE_HZ * FRAME_MS // 1000
    frames = samples[: len(samples) // frame * frame].reshape(-1, frame)
    level_db = 10 * np.log10(np.square(frames, dtype=np.float64).mean(axis=1) + 1e-12)
    loudest = [float(level_db[time[0] // FRAME_MS : time[1] // FRAME_MS + 1].max()) for time in times if time]
    floor = max(float(np.median(loudest)) - _QUIET_DB, _SILENCE_DBFS) if loudest else _SILENCE_DBFS
    levels = iter(loudest)
    return [time if time and next(levels) >= floor else None for time in times]


class _Search:
    """A pocketsphinx decoder that finds tokens (see spoken.py) in audio."""

    MOST_ADDED = 20_000
    """Words added to the dictionary (100 bytes each) before it is read anew, which takes 0.2 s."""
    _SCORE_SCALE = 1024
    """pocketsphinx keeps scores shifted right by 10 bits (SENSCR_SHIFT)."""

    def __init__(self, beam: float) -> None:
        self._beam = beam
        self._open()

    def _open(self) -> None:
        from pocketsphinx import Decoder

        self._added: set[str] = set()
        self._decoder = Decoder(
            lm=None,
            cmn="batch",
            # There is no language to weigh in, and a pause between two words is as likely as none.
            lw=1.0,
            wip=1.0,
            silprob=0.5,
            beam=self._beam,
            wbeam=self._beam,
            pbeam=self._beam,
            # The best path through the lattice of word ends may skip the last words.
            bestpath=False,
            loglevel="FATAL",
        )

    def knows(self, word: str) -> bool:
        return self._decoder.lookup_word(word) is not None

    def find(self, audio: bytes, tokens: Sequence[str]) -> list[_Spoken] | None:
        """Where each token is in 16-bit samples; None if there is no path through all of them."""
        if len(self._added) > self.MOST_ADDED:
            self._open()
        names = [self._name(token) for token in tokens]
        try:
            self._decoder.reinit_feat()  # its noise tracker starts from the last utterance, and moves words by 10 ms
            self._decoder.set_align_text(" ".join(names))
            self._decoder.start_utt()
            try:
                self._decoder.process_raw(audio, full_utt=True)
            finally:
                self._decoder.end_utt()  # else every later request fails
            segments = list(self._decoder.seg() or ())
        except RuntimeError:
            self._open()
            return None
        found = [self._spoken(segment) for segment in segments if segment.word[0] not in "<["]  # <sil>, [NOISE]
        return found if len(found) == len(names) else None

    def _spoken(self, segment: Any) -> _Spoken:
        phones = len(self._decoder.lookup_word(segment.word).split())
        score = math.log(max(segment.ascore, sys.float_info.min)) * self._SCORE_SCALE
        return _Spoken(segment.start_frame, segment.end_frame, phones, score)

    def _name(self, token: str) -> str:
        """The dictionary's name of a token; one that it lacks is added under a name that no written word has."""
        if token.islower() and self.knows(token):
            return token
        name = token.lower() + ("~letters" if token.isupper() else "~")
        if name not in self._added:
            for number, phones in enumerate(pronunciations(token, self._decoder.lookup_word), start=1):
                self._decoder.add_word(name if number == 1 else f"{name}({number})", phones, False)
            self._added.add(name)
        return name
