"""Hypotheses → timed words: each is timed by the first configured aligner that can."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from schemas.config import SAMPLE_RATE_HZ
from transforms.engines import (
    Aligner,
    AlignerSpec,
    AlignmentRequest,
    Hypothesis,
    Samples,
    check_counts,
    languages_of,
    longest_s,
)
from transforms.errors import RecordingError
from transforms.recognition.safely import ask_safely
from transforms.text.tokens import WordTime, WordTimes
from transforms.text.words import Span, confidences, settle_times, split_words, token_times

LoadedAligner = tuple[str, AlignerSpec | None, Aligner | None]
"""(name, spec, aligner); both None for the recognizer's own times."""


class Timed(NamedTuple):
    """The name of the aligner that timed a text, its words as schemas.tables.WORD, and what went wrong on the way."""

    aligner: str | None
    words: list[dict[str, Any]]
    error: RecordingError | None


def align_all(aligners: Sequence[LoadedAligner], items: Sequence[tuple[Samples, Hypothesis]]) -> list[Timed]:
    """For each (samples, hypothesis), in order: its words, timed by the first aligner that can.

    Times are ms from the first sample, offsets count in the hypothesis' text. Where no aligner can, the name and the
    times are None. A word that the chosen aligner cannot time takes the recognizer's time, if 'recognizer' is
    configured. An aligner that raises over a text is passed over for it, and the first such error told.

    Raises EngineLost if an aligner cannot go on at all, RuntimeError if one breaks its contract.
    """
    spans = [split_words(hypothesis.text, hypothesis.language) for _, hypothesis in items]
    found: list[tuple[str, WordTimes] | None] = [None] * len(items)
    errors: dict[int, RecordingError] = {}
    for name, spec, aligner in aligners:
        open_items = [i for i, times in enumerate(found) if times is None and spans[i] and _takes(spec, *items[i])]
        times = (
            [token_times(spans[i], items[i][1].tokens) for i in open_items]
            if aligner is None
            else _ask(name, aligner, items, spans, open_items)
        )
        for index, word_times in zip(open_items, times, strict=True):
            if isinstance(word_times, RecordingError):
                errors.setdefault(index, word_times)
            elif word_times is not None and any(time is not None for time in word_times):
                found[index] = (name, word_times)
    own_times_allowed = any(aligner is None for _, _, aligner in aligners)
    return [
        Timed(
            times[0] if times else None,
            _words(items[i], spans[i], times[1] if times else None, own_times_allowed),
            errors.get(i),
        )
        for i, times in enumerate(found)
    ]


def _takes(spec: AlignerSpec | None, samples: Samples, hypothesis: Hypothesis) -> bool:
    if spec is None:
        return True
    languages, most_s = languages_of(spec), longest_s(spec)
    speaks = languages is None or hypothesis.language in languages
    return speaks and (most_s is None or len(samples) <= most_s * SAMPLE_RATE_HZ)


def _ask(
    name: str,
    aligner: Aligner,
    items: Sequence[tuple[Samples, Hypothesis]],
    spans: Sequence[list[Span]],
    indexes: Sequence[int],
) -> list[WordTimes | RecordingError | None]:
    what = f"aligner '{name}'"
    requests = [AlignmentRequest(items[i][0], items[i][1].text, tuple(spans[i]), items[i][1].language) for i in indexes]

    def failure(error: Exception) -> RecordingError:
        reason = f"{what} failed on this text: {type(error).__name__}: {error}"
        return RecordingError("align", type(error).__name__, f"{reason}; the text stands, please report it")

    def audio_s(request: AlignmentRequest) -> float:
        return len(request.samples) / SAMPLE_RATE_HZ

    answers = ask_safely(what, aligner.align, requests, failure, audio_s)
    for request, answer in zip(requests, answers, strict=True):
        if answer is not None and not isinstance(answer, RecordingError):
            check_counts(f"{what}, words of one text", len(request.words), len(answer))
    return answers


def _words(
    item: tuple[Samples, Hypothesis], spans: Sequence[Span], times: WordTimes | None, own_times_allowed: bool
) -> list[dict[str, Any]]:
    samples, hypothesis = item
    times = list(times) if times is not None else [None] * len(spans)
    if own_times_allowed and None in times:
        own = token_times(spans, hypothesis.tokens)
        times = [_between(times, own, index) if time is None else time for index, time in enumerate(times)]
    times = settle_times(times, len(samples) * 1000 // SAMPLE_RATE_HZ)
    return [
        {
            "word": hypothesis.text[span.char_start : span.char_end],
            "start_ms": None if time is None else time.start_ms,
            "end_ms": None if time is None else time.end_ms,
            "estimated": None if time is None else time.estimated,
            "confidence": confidence,
            "char_start": span.char_start,
            "char_end": span.char_end,
        }
        for span, time, confidence in zip(spans, times, confidences(spans, hypothesis.tokens), strict=True)
    ]


def _between(times: WordTimes, own: WordTimes, index: int) -> WordTime | None:
    """The recognizer's time of a word, kept between the neighbours that the better aligner has timed."""
    time = own[index]
    if time is None:
        return None
    before = max((t.end_ms for t in times[:index] if t is not None), default=0)
    after = min((t.start_ms for t in times[index + 1 :] if t is not None), default=time.end_ms)
    start_ms, end_ms = max(time.start_ms, before), min(time.end_ms, max(after, before))
    return WordTime(start_ms, end_ms) if start_ms < end_ms else None
