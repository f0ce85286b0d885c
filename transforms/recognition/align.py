"""Hypotheses → timed words: each is timed by the first configured aligner that can."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

from schemas.config import SAMPLE_RATE_HZ
from transforms.engines import (
    AlignerSpec,
    AlignmentRequest,
    Hypothesis,
    Samples,
    check_counts,
    languages_of,
    longest_s,
)
from transforms.engines.resident import Resident
from transforms.errors import RecordingError
from transforms.recognition.batching import Window
from transforms.recognition.dialogues import Dialogue
from transforms.recognition.streams import AnyStream, Stream, stream
from transforms.text.tokens import WordTime, WordTimes
from transforms.text.words import Span, confidences, settle_times, split_words, token_times


class AlignerAtWork(NamedTuple):
    """A configured aligner; spec and stream are None for the recognizer's own times."""

    name: str
    spec: AlignerSpec | None
    stream: Stream | None


class Timed(NamedTuple):
    """The name of the aligner that timed a text, its words as schemas.tables.WORD, and what went wrong on the way."""

    aligner: str | None
    words: list[dict[str, Any]]
    error: RecordingError | None


def aligner_stream(
    name: str, engine: Resident, window: Window[AlignmentRequest], bell: threading.Condition
) -> AnyStream:
    """The stream of a loaded aligner."""
    what = f"aligner '{name}'"

    def failure(error: Exception) -> RecordingError:
        reason = f"{what} failed on this text: {type(error).__name__}: {error}"
        return RecordingError("align", type(error).__name__, f"{reason}; the text stands, please report it")

    return stream(what, engine, "align", failure, window, bell)


def timing(aligners: Sequence[AlignerAtWork], samples: Samples, hypothesis: Hypothesis) -> Dialogue[Timed]:
    """The words of `hypothesis`, timed by the first aligner that can.

    Times are ms from the first sample, offsets count in the hypothesis' text. Where no aligner can, the name and the
    times are None. A word that the chosen aligner cannot time takes the recognizer's time, if 'recognizer' is
    configured. An aligner that raises over the text is passed over, and the first such error told.

    Raises RuntimeError if an aligner does not return one time a word.
    """
    spans = split_words(hypothesis.text, hypothesis.language)
    error: RecordingError | None = None
    for name, spec, at_work in aligners:
        if not spans or not _takes(spec, samples, hypothesis):
            continue
        if at_work is None:
            times: WordTimes | RecordingError | None = token_times(spans, hypothesis.tokens)
        else:
            request = AlignmentRequest(samples, hypothesis.text, tuple(spans), hypothesis.language)
            (times,) = yield [(at_work, request)]
        if isinstance(times, RecordingError):
            error = error or times
        elif times is not None:
            check_counts(f"aligner '{name}', words of one text", len(spans), len(times))
            if any(time is not None for time in times):
                break
    else:
        name, times = None, None
    own_times_allowed = any(aligner.stream is None for aligner in aligners)
    return Timed(name, _words(samples, hypothesis, spans, times, own_times_allowed), error)


def _takes(spec: AlignerSpec | None, samples: Samples, hypothesis: Hypothesis) -> bool:
    if spec is None:
        return True
    languages, most_s = languages_of(spec), longest_s(spec)
    speaks = languages is None or hypothesis.language in languages
    return speaks and (most_s is None or len(samples) <= most_s * SAMPLE_RATE_HZ)


def _words(
    samples: Samples, hypothesis: Hypothesis, spans: Sequence[Span], times: WordTimes | None, own_times_allowed: bool
) -> list[dict[str, Any]]:
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
