"""What Qwen3-ASR is asked about an utterance and what its answer means, whatever runs the network. Needs no torch."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from schemas.config import SAMPLE_RATE_HZ
from transforms.engines import Alternative, Hypothesis, Utterance
from transforms.engines.qwen.answer import TAG, read_answer
from transforms.engines.qwen.languages import NAMES
from transforms.errors import RecordingError

SPARE_TOKENS = 24
"""For the language and for very short clips, beyond those for each second."""
_LOUD = 10 ** (-50 / 20)
"""-50 dBFS: quieter than any speech that VAD lets through at a usual level."""
_SURELY_NOTHING = 0.9
"""Probability of 'language None' from which an empty answer is not asked again."""
_MARGIN_SAMPLES = SAMPLE_RATE_HZ // 2
_SPECIAL = re.compile(rf"<\|[^|<>]*\|>|{TAG}")


@dataclass
class Generated:
    """Tokens after the prompt without the end token, and the natural logarithm of each one's probability. `finished` is
    False if they were cut at the limit. `logprob` is the sum, the end token's included."""

    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finished: bool = False
    logprob: float = 0.0


def check(utterance: Utterance, languages: Collection[str], longest_s: float) -> None:
    """Raises RecordingError for what the model cannot be asked."""
    if utterance.language is not None and utterance.language not in languages:
        known = ", ".join(sorted(languages))
        message = f"the model does not know the language '{utterance.language}'; it knows {known}"
        raise RecordingError("recognize", "language", message)
    if not np.isfinite(utterance.samples).all():
        message = "the audio holds values that are no numbers; convert the file anew"
        raise RecordingError("recognize", "not_finite", message)
    if len(utterance.samples) > longest_s * SAMPLE_RATE_HZ:
        message = f"the model takes at most {longest_s:g} s at once; lower packing.max_chunk_s"
        raise RecordingError("recognize", "too_long", message)


def most_tokens(utterance: Utterance, tokens_per_s: float) -> int:
    """How many may be generated for it."""
    return SPARE_TOKENS + int(tokens_per_s * len(utterance.samples) / SAMPLE_RATE_HZ)


def prompt(
    utterance: Utterance, tokenizer: Any, template: Callable[..., str], max_context_tokens: int
) -> tuple[list[int], tuple[str, ...]]:
    """The prompt's ids as the package builds it, with one placeholder for the audio; and the flags that it earns: a
    longer context is cut. `template` is apply_chat_template of the model's processor or tokenizer."""
    # What looks like a special token would be one: it must not stand in what users write.
    context = _SPECIAL.sub(" ", utterance.context or "").strip()
    ids = tokenizer.encode(context[: 20 * max_context_tokens], add_special_tokens=False)
    cut = len(ids) > max_context_tokens or len(context) > 20 * max_context_tokens
    if cut:
        context = tokenizer.decode(ids[:max_context_tokens]).strip("\ufffd")
    turns = [{"role": "system", "content": context}, {"role": "user", "content": [{"type": "audio", "audio": ""}]}]
    text = template(turns, add_generation_prompt=True, tokenize=False)
    if utterance.language is not None:
        text += f"language {NAMES[utterance.language]}{TAG}"
    return tokenizer.encode(text, add_special_tokens=False), ("context_cut",) if cut else ()


def hypothesis(
    utterance: Utterance, found: Sequence[Generated], flags: tuple[str, ...], decode: Callable[[list[int]], str]
) -> Hypothesis:
    """`found`: the answers to it, best first."""
    best = found[0]
    answer = read_answer(best.ids, best.logprobs, decode)
    count = len(best.ids)
    return Hypothesis(
        text=answer.text,
        language=utterance.language or answer.language,
        language_probability=1.0 if utterance.language else answer.language_probability,
        tokens=answer.tokens,
        token_count=count,
        mean_logprob=best.logprob / (count + 1),
        no_speech_probability=answer.language_probability if answer.says_none and not answer.text else None,
        finish="stop" if best.finished else "length",
        flags=flags,
        alternatives=tuple(
            Alternative(read_answer(other.ids, other.logprobs, decode).text, other.logprob)
            for other in found
            if len(found) > 1
        ),
    )


def wider(utterance: Utterance, found: Hypothesis) -> Utterance | None:
    """A clip that comes back empty may only lack room before its first and after its last sound: what to ask then, None
    where nothing is to be asked."""
    if utterance.growth is not None:
        return None  # more of it comes anyway
    is_doubtful = not found.text and (found.no_speech_probability or 0.0) < _SURELY_NOTHING
    if not is_doubtful or not _is_loud(utterance.samples):
        return None
    return replace(utterance, samples=np.pad(utterance.samples, _MARGIN_SAMPLES), language=None)


def better(utterance: Utterance, empty: Hypothesis, by_wider: Hypothesis) -> Hypothesis:
    """Which of the two answers stands."""
    return by_wider if by_wider.text and utterance.language in (None, by_wider.language) else empty


def _is_loud(samples: Any) -> bool:
    return len(samples) > 0 and float(np.sqrt(np.mean(np.square(samples)))) > _LOUD
