"""Whether the speech that VAD heard can hold a text: engines make words up over noise, street and music."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from difflib import SequenceMatcher

import numpy as np

from schemas.config import SAMPLE_RATE_HZ
from transforms.engines import Samples
from transforms.text.scripts import HAN

_LETTERS_PER_S = 25.0
"""Of the fastest speakers; who reads English aloud is at 15."""
_SYLLABLES_PER_S = 12.0
"""Readers of seven languages speak 5.2 (Mandarin) to 7.8 (Japanese) syllables a second in the mean (Pellegrino, Coupé
and Marsico 2011, A cross-language perspective on speech information rate); the fastest half as many again."""
_SYLLABLE = re.compile(rf"[\d{HAN}\u3041-\u30ff\uac00-\ud7a3]")
"""Han, kana, Hangul and figures: each is a syllable, or more."""
_UNIT = re.compile(rf"{_SYLLABLE.pattern}|\w+?(?={_SYLLABLE.pattern}|\b)")
_PAD = SAMPLE_RATE_HZ // 10
_AGREEING_SHARE = 0.5

SpeechSpans = Sequence[tuple[int, int]]


def spoken_s(text: str) -> float:
    """The least time in seconds in which `text` can be said. Marks that join a letter, and punctuation, take none."""
    syllables = len(_SYLLABLE.findall(text))
    letters = sum(unicodedata.category(char)[0] == "L" for char in text if not _SYLLABLE.match(char))
    return syllables / _SYLLABLES_PER_S + letters / _LETTERS_PER_S


def holds(speech: SpeechSpans, text: str, missed_s: float) -> bool:
    """True if so much speech (in samples of 16 kHz), and so much that VAD may have missed, can hold `text`."""
    speech_s = sum(end - start for start, end in speech) / SAMPLE_RATE_HZ
    return spoken_s(text) <= speech_s + missed_s


def speech_alone(samples: Samples, speech: SpeechSpans) -> Samples:
    """`samples` with silence where VAD heard nothing, 100 ms beside speech excepted: times stay as they are."""
    alone = np.zeros_like(samples)
    for start, end in speech:
        kept = slice(max(0, start - _PAD), end + _PAD)
        alone[kept] = samples[kept]
    return alone


def agree(text: str, other: str) -> bool:
    """True if `other` has half of the words of `text`, in order."""
    units, others = (_UNIT.findall(one.casefold()) for one in (text, other))
    same = sum(block.size for block in SequenceMatcher(None, units, others, autojunk=False).get_matching_blocks())
    return same >= _AGREEING_SHARE * max(1, len(units))
