"""Reads an utterance, and again what is doubtful, where a second try can help."""

from __future__ import annotations

import math
import threading
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher

from schemas.config import SAMPLE_RATE_HZ, RetryConfig
from transforms.audio.vad import quietest_sample
from transforms.engines import Hypothesis, Recognizer, Utterance
from transforms.engines.resident import Resident
from transforms.errors import RecordingError
from transforms.recognition.batching import Window
from transforms.recognition.dialogues import Dialogue, hold
from transforms.recognition.streams import AnyStream, Stream, stream
from transforms.recognition.support import SpeechSpans, agree, holds, speech_alone
from transforms.text.tokens import Token
from transforms.text.words import separator

_COMPRESSION_RATIO = 2.4
"""Whisper's own bound (its paper, section 4.5): text that zlib shrinks by more repeats itself."""
_REPEATS = 6
_LONGEST_PATTERN_WORDS = 20


_MOST_CHARS_PER_S = 40
"""The fastest speakers reach 25 letters a second; more is a loop, whatever its pattern."""
_DOUBTFUL_LOGPROB = -1.0
"""Whisper's own bound (its paper, section 4.5) for text that is not to be believed."""
_CLEARLY_OTHER = 0.8
"""Probability from which another language than the recording's is believed of one chunk."""
_BETTER_LOGPROB = 0.3
_ECHO_WORDS = 3
_ECHO_SHARE = 0.8


@dataclass
class Tries:
    second: int = 0
    """Utterances that were recognized again."""


def recognizer_stream(engine: Resident, window: Window[Utterance], bell: threading.Condition) -> AnyStream:
    """The stream of a loaded recognizer."""

    def failure(error: Exception) -> RecordingError:
        reason = f"{type(error).__name__}: {error}"
        message = f"the recognizer failed: {reason}; listen to this stretch, then try --reprocess failed"
        return RecordingError("recognize", type(error).__name__, message)

    return stream("the recognizer", engine, "recognize", failure, window, bell)


def recognize_all(
    recognizer: Recognizer, utterances: Sequence[Utterance], config: RetryConfig, tries: Tries
) -> list[Hypothesis | RecordingError]:
    """`reading` of each, in order, in one batch as far as it fits into memory."""
    bell = threading.Condition()
    at_work = recognizer_stream(Resident(lambda: recognizer), Window(math.inf), bell)
    return hold([reading(at_work, utterance, config, tries) for utterance in utterances], [at_work], bell)


def reading(
    recognizer: Stream, utterance: Utterance, config: RetryConfig, tries: Tries
) -> Dialogue[Hypothesis | RecordingError]:
    """What echoes the context is tried again without it, what fits its language badly with any language, a loop or a
    truncation by halves, more text than the speech can hold on the speech alone; each is flagged if that does not help.
    Text that nothing supports is dropped. `tries` counts."""
    first: Hypothesis | RecordingError
    (first,) = yield [(recognizer, utterance)]
    if isinstance(first, RecordingError):
        return first
    if utterance.context and echoes(first.text, utterance.context):
        tries.second += 1
        utterance = replace(utterance, context=None)
        (again,) = yield [(recognizer, utterance)]
        first = again if isinstance(again, Hypothesis) else replace(first, flags=(*first.flags, "context_echo"))
    if utterance.language and first.mean_logprob is not None and first.mean_logprob < _DOUBTFUL_LOGPROB:
        tries.second += 1
        (free,) = yield [(recognizer, replace(utterance, language=None))]
        if isinstance(free, Hypothesis) and _plainly_other(free, first):
            first = replace(free, flags=(*free.flags, "language_mismatch"))
    seconds = len(utterance.samples) / SAMPLE_RATE_HZ
    if doubts := find_doubts(first, seconds):
        tries.second += 1
        halves = yield from _by_halves(recognizer, utterance, first, config)
        first = halves or replace(first, flags=(*first.flags, *doubts))
    if utterance.speech is not None and not holds(utterance.speech, first.text, config.missed_speech_s):
        tries.second += 1
        first = yield from _on_speech_alone(recognizer, utterance, utterance.speech, first, config)
    return first


def _on_speech_alone(
    recognizer: Stream, utterance: Utterance, speech: SpeechSpans, first: Hypothesis, config: RetryConfig
) -> Dialogue[Hypothesis]:
    """Of a text that `speech` cannot hold: the text itself, flagged, if it is read there again; else what is read
    there, if that is to be believed; else nothing."""
    alone = replace(utterance, samples=speech_alone(utterance.samples, speech), language=first.language)
    again: Hypothesis | RecordingError
    (again,) = yield [(recognizer, alone)]
    if isinstance(again, RecordingError) or (again.text and agree(first.text, again.text)):
        return replace(first, flags=(*first.flags, "unsupported"))
    believed = again.mean_logprob is None or again.mean_logprob >= _DOUBTFUL_LOGPROB
    if believed and holds(speech, again.text, config.missed_speech_s):
        return again
    return replace(again, text="", tokens=(), alternatives=(), flags=())


def _plainly_other(free: Hypothesis, forced: Hypothesis) -> bool:
    return (
        bool(free.text)
        and free.language not in (None, forced.language)
        and (free.language_probability or 0.0) >= _CLEARLY_OTHER
        and (free.mean_logprob or 0.0) > (forced.mean_logprob or 0.0) + _BETTER_LOGPROB
    )


def echoes(text: str, context: str) -> bool:
    """True if `text` has at least three words, and nearly all of them stand in `context` one after another."""
    said, given = text.casefold().split(), context.casefold().split()
    if len(said) < _ECHO_WORDS:
        return False
    same = SequenceMatcher(None, said, given, autojunk=False).find_longest_match().size
    return same >= _ECHO_WORDS and same >= _ECHO_SHARE * len(said)


def find_doubts(hypothesis: Hypothesis, seconds: float) -> tuple[str, ...]:
    """The flags 'truncated' and 'repetition', as far as the hypothesis of so many seconds of audio earns them."""
    found = ["truncated"] if hypothesis.finish == "length" else []
    if repeats_itself(hypothesis.text) or len(hypothesis.text) > _MOST_CHARS_PER_S * max(1.0, seconds):
        found.append("repetition")
    return tuple(found)


def repeats_itself(text: str) -> bool:
    """True if the text compresses better than speech does, or says one pattern of up to 20 words (or of one character)
    six times in a row."""
    data = text.encode()
    if len(data) / len(zlib.compress(data)) > _COMPRESSION_RATIO:
        return True
    words = text.casefold().split()
    units = words if len(words) > 1 else list(text)
    for length in range(1, _LONGEST_PATTERN_WORDS + 1):
        run = 0
        for index in range(length, len(units)):
            run = run + 1 if units[index] == units[index - length] else 0
            if run >= length * (_REPEATS - 1):
                return True
    return False


def _by_halves(
    recognizer: Stream, utterance: Utterance, first: Hypothesis, config: RetryConfig
) -> Dialogue[Hypothesis | None]:
    """The hypotheses of the two halves, cut at the quietest point of the middle, as one; None if a half fails or is too
    short."""
    samples = utterance.samples
    if len(samples) < max(1, config.min_audio_ms) * SAMPLE_RATE_HZ // 1000:
        return None
    cut = quietest_sample(samples, len(samples) // 4, -(-len(samples) * 3 // 4))
    halves = [
        replace(utterance, samples=part, language=first.language)
        for part in (samples[:cut].copy(), samples[cut:].copy())
    ]
    left, right = yield [(recognizer, half) for half in halves]
    if isinstance(left, RecordingError) or isinstance(right, RecordingError):
        return None
    if first.text and not left.text and not right.text:
        return None
    joined = _joined(left, right, cut * 1000 // SAMPLE_RATE_HZ, first)
    lengths_s = [len(part.samples) / SAMPLE_RATE_HZ for part in (*halves, utterance)]
    doubts = {
        doubt
        for part, seconds in zip((left, right, joined), lengths_s, strict=True)
        for doubt in find_doubts(part, seconds)
    }
    return replace(joined, flags=(*first.flags, *sorted(doubts)))


def _joined(left: Hypothesis, right: Hypothesis, offset_ms: int, first: Hypothesis) -> Hypothesis:
    lead = left.text + separator(left.text, right.text)
    shifted = tuple(
        Token(
            token.char_start + len(lead),
            token.char_end + len(lead),
            token.probability,
            None if token.start_ms is None else token.start_ms + offset_ms,
            None if token.end_ms is None else token.end_ms + offset_ms,
        )
        for token in right.tokens
    )
    count = left.token_count + right.token_count
    logprobs = [(half.mean_logprob, half.token_count) for half in (left, right) if half.mean_logprob is not None]
    weight = sum(tokens for _, tokens in logprobs)
    return replace(
        first,
        text=lead + right.text,
        tokens=left.tokens + shifted,
        token_count=count,
        mean_logprob=sum(value * tokens for value, tokens in logprobs) / weight if weight else first.mean_logprob,
        finish="length" if "length" in (left.finish, right.finish) else "stop",
    )
