"""What Qwen3-ForcedAligner is asked about a text, and what its answer means, whatever runs it. Needs no torch."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from schemas.config import SAMPLE_RATE_HZ, ConfigError
from transforms.engines import AlignmentRequest
from transforms.engines.qwen.languages import ALIGNABLE, NAMES
from transforms.engines.qwen.placing import place_tokens, repaired
from transforms.text.tokens import WordTime, WordTimes

LONGEST_S = 300
_TIMESTAMPS = "<timestamp><timestamp>"
_AUDIO = "<|audio_start|><|audio_pad|><|audio_end|>"

Placed = tuple[list[str], list[tuple[int, int]]]
"""The model's tokens of a text, and their places in it."""


def check_config(config: Mapping[str, Any], model: str, what: str) -> None:
    """Raises ConfigError if the checkpoint's config lacks what its answers are read by; `what` begins the message."""
    for name in ("timestamp_token_id", "timestamp_segment_time"):
        if name not in config:
            raise ConfigError(f"{what}: config.json of {model} has no {name}")


def place(
    request: AlignmentRequest,
    languages: Collection[str],
    split: Callable[[str, str], list[str]],
    is_kept: Callable[[str], bool],
) -> Placed | None:
    """None for a language that the model does not speak, more than 300 s of audio, or a text without letters. `split`
    makes the model's tokens of a text in a language, which it calls by its name, of the characters that `is_kept`."""
    if request.language not in ALIGNABLE or request.language not in languages or not request.words:
        return None
    if not 0 < len(request.samples) <= LONGEST_S * SAMPLE_RATE_HZ:
        return None
    # Composed, since marks that stand alone are dropped.
    tokens = split(unicodedata.normalize("NFC", request.text), NAMES[request.language])
    places = place_tokens(request.text, tokens, is_kept) if tokens else None
    return (tokens, places) if places is not None else None


def prompt(tokens: Sequence[str], tokenizer: Any) -> list[int]:
    """The prompt's ids, with one placeholder for the audio."""
    ids: list[int] = tokenizer.encode(
        _AUDIO + "".join(token + _TIMESTAMPS for token in tokens), add_special_tokens=False
    )
    return ids


def pairs(classes: Sequence[int], grid_ms: float) -> list[tuple[float, float]]:
    """(start, end) in ms of each token, from the classes at its two <timestamp>s."""
    values = [index * grid_ms for index in classes]
    return list(zip(values[::2], values[1::2], strict=True))


def word_times(
    request: AlignmentRequest,
    places: Sequence[tuple[int, int]],
    token_times: Sequence[tuple[float, float]],
    grid_ms: float = 80.0,
) -> WordTimes:
    """The times of the request's words from those of the tokens in them."""
    values, moved = repaired([value for time in token_times for value in time])
    length_ms = len(request.samples) * 1000 / SAMPLE_RATE_HZ
    tokens = [
        (place, min(values[2 * i], length_ms), min(values[2 * i + 1], length_ms), moved[2 * i] or moved[2 * i + 1])
        for i, place in enumerate(places)
    ]
    times: WordTimes = []
    first = 0
    for start, end in request.words:
        while first < len(tokens) and tokens[first][0][1] <= start:
            first += 1
        inside = []
        for (begin, stop), from_ms, to_ms, was_moved in tokens[first:]:
            if begin >= end:
                break
            # A token that reaches beyond the word gives it its share, by characters.
            share = (to_ms - from_ms) / (stop - begin)
            cut = begin < start or stop > end
            part = (from_ms + share * (max(begin, start) - begin), from_ms + share * (min(stop, end) - begin))
            inside.append((*part, was_moved or cut))
        if inside:
            estimated = any(was_moved for _, _, was_moved in inside)
            times.append(WordTime(round(inside[0][0]), round(inside[-1][1]), estimated))
        else:
            times.append(None)
    return _filled(times, round(length_ms), round(grid_ms))


def _filled(times: WordTimes, length_ms: int, grid_ms: int) -> WordTimes:
    """Words without a token (a symbol, an emoji) between their neighbours, and words of no length up to the next grid
    point or the next word; both marked."""
    filled = list(times)
    for index, time in enumerate(filled):
        before = filled[index - 1].end_ms if index and filled[index - 1] is not None else 0  # type: ignore[union-attr]
        after = next((later.start_ms for later in times[index + 1 :] if later is not None), length_ms)
        if time is None:
            filled[index] = WordTime(min(before, after), max(before, after), True)
        elif time.end_ms <= time.start_ms:
            filled[index] = WordTime(time.start_ms, time.start_ms + min(max(1, after - time.start_ms), grid_ms), True)
    return filled
