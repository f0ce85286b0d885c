"""The aligner `qwen`: Qwen3-ForcedAligner behind the seam of transforms.engines.

One pass of the network over audio and text; at each `<timestamp>` token it names a time on a grid of 80 ms.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from schemas.config import SAMPLE_RATE_HZ, ConfigError
from transforms.engines import AlignmentRequest, check_counts
from transforms.engines.qwen.checkpoint import Checkpoint
from transforms.engines.qwen.features import shared_log_mel
from transforms.engines.qwen.languages import ALIGNABLE, NAMES
from transforms.engines.qwen.placing import place_tokens, repaired
from transforms.text.tokens import WordTime, WordTimes

if TYPE_CHECKING:
    from transforms.engines.qwen.network import Network

VERSION = 1
"""Part of the key: to be raised with every change in this folder that changes times."""
_WHAT = "aligner 'qwen'"
_LONGEST_S = 300
_PADDED_AUDIO_S = 240.0
_TIMESTAMPS = "<timestamp><timestamp>"
_AUDIO = "<|audio_start|><|audio_pad|><|audio_end|>"


@dataclass(frozen=True)
class QwenAlignerSpec(Checkpoint):
    model: str = "Qwen/Qwen3-ForcedAligner-0.6B"

    @property
    def longest_s(self) -> float:
        return _LONGEST_S

    @property
    def languages(self) -> frozenset[str]:
        return ALIGNABLE

    @property
    def key(self) -> Mapping[str, Any]:
        return {**self.model_key, "version": VERSION}

    def checked(self) -> QwenAlignerSpec:
        pinned, config = self.pinned("aligner", _WHAT)
        for name in ("timestamp_token_id", "timestamp_segment_time"):
            if name not in config:
                raise ConfigError(f"{_WHAT}: config.json of {self.model} has no {name}")
        return pinned

    def load(self) -> QwenAligner:
        return QwenAligner(self)


class QwenAligner:
    def __init__(self, spec: QwenAlignerSpec) -> None:
        from qwen_asr.inference.qwen3_forced_aligner import Qwen3ForceAlignProcessor

        from transforms.engines.qwen.network import Network

        self._network: Network = Network(spec, _WHAT)
        self._words: Any = Qwen3ForceAlignProcessor()
        config = self._network.config
        self._timestamp, self._grid_ms = int(config.timestamp_token_id), float(config.timestamp_segment_time)

    def align(self, requests: Sequence[AlignmentRequest]) -> list[WordTimes | None]:
        """None for a language that the model does not speak, more than 300 s of audio, or a text without letters. A
        time that had to be taken from the neighbours is marked as estimated."""
        placed = {index: found for index, request in enumerate(requests) if (found := self._place(request))}
        times: list[WordTimes | None] = [None] * len(requests)
        # Like lengths together; the request's place in `requests` does not matter.
        order = sorted(placed, key=lambda index: len(requests[index].samples))
        while order:
            longest_s = len(requests[order[-1]].samples) / SAMPLE_RATE_HZ
            count = max(1, int(_PADDED_AUDIO_S / max(longest_s, 1e-3)))
            batch, order = order[-count:], order[:-count]
            answers = self._token_times([requests[i] for i in batch], [placed[i][0] for i in batch])
            for index, token_times in zip(batch, answers, strict=True):
                times[index] = _word_times(requests[index], placed[index][1], token_times, self._grid_ms)
        return times

    def _place(self, request: AlignmentRequest) -> tuple[list[str], list[tuple[int, int]]] | None:
        """The package's tokens of the text, and their places in it."""
        if request.language not in ALIGNABLE or request.language not in self._network.languages or not request.words:
            return None
        if len(request.samples) > _LONGEST_S * SAMPLE_RATE_HZ or len(request.samples) == 0:
            return None
        # Composed, since the package drops marks that stand alone.
        tokens, _ = self._words.encode_timestamp(unicodedata.normalize("NFC", request.text), NAMES[request.language])
        places = place_tokens(request.text, tokens, self._words.is_kept_char) if tokens else None
        return (tokens, places) if places is not None else None

    def _token_times(
        self, requests: Sequence[AlignmentRequest], tokens: Sequence[list[str]]
    ) -> list[list[tuple[float, float]]]:
        """(start, end) in ms of each token; halves the batch when it does not fit into memory."""
        from transforms.engines.qwen.network import memory_and_device_errors

        try:
            with memory_and_device_errors():
                return self._run(requests, tokens)
        except MemoryError:
            if len(requests) == 1:
                raise
            half = len(requests) // 2
            return self._token_times(requests[:half], tokens[:half]) + self._token_times(requests[half:], tokens[half:])

    def _run(
        self, requests: Sequence[AlignmentRequest], tokens: Sequence[list[str]]
    ) -> list[list[tuple[float, float]]]:
        network = self._network
        features = [shared_log_mel(request.samples, network.mel_filters) for request in requests]
        encoded = network.encode(features)
        prompts = [self._prompt(words, len(audio)) for words, audio in zip(tokens, encoded, strict=True)]
        rows = [network.embed(ids, audio) for ids, audio in zip(prompts, encoded, strict=True)]
        embeddings, mask = network.padded(rows)
        hidden = network.hidden(embeddings, mask)
        longest = hidden.shape[1]
        found = []
        for row, ids in zip(hidden, prompts, strict=True):
            places = [longest - len(ids) + at for at, token in enumerate(ids) if token == self._timestamp]
            classes = network.thinker.lm_head(row[places]).argmax(dim=-1).tolist()
            values = [index * self._grid_ms for index in classes]
            found.append(list(zip(values[::2], values[1::2], strict=True)))
        for times, words in zip(found, tokens, strict=True):
            check_counts("Qwen3-ForcedAligner", len(words), len(times))
        return found

    def _prompt(self, tokens: Sequence[str], audio_tokens: int) -> list[int]:
        network = self._network
        text = _AUDIO + "".join(token + _TIMESTAMPS for token in tokens)
        ids = network.tokenizer.encode(text, add_special_tokens=False)
        at = ids.index(network.audio_token)
        return [*ids[:at], *[network.audio_token] * audio_tokens, *ids[at + 1 :]]


def _word_times(
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
