"""The aligner `qwen`: Qwen3-ForcedAligner behind the seam of transforms.engines.

One pass of the network over audio and text; at each `<timestamp>` token it names a time on a grid of 80 ms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from schemas.config import SAMPLE_RATE_HZ
from transforms.engines import AlignmentRequest, check_counts
from transforms.engines.qwen import aligning
from transforms.engines.qwen.checkpoint import Checkpoint
from transforms.engines.qwen.features import shared_log_mel
from transforms.engines.qwen.languages import ALIGNABLE
from transforms.text.tokens import WordTimes

if TYPE_CHECKING:
    from transforms.engines.qwen.network import Network

VERSION = 1
"""Part of the key: to be raised with every change in this folder that changes times."""
_WHAT = "aligner 'qwen'"
_PADDED_AUDIO_S = 240.0


@dataclass(frozen=True)
class QwenAlignerSpec(Checkpoint):
    model: str = "Qwen/Qwen3-ForcedAligner-0.6B"

    @property
    def longest_s(self) -> float:
        return aligning.LONGEST_S

    @property
    def languages(self) -> frozenset[str]:
        return ALIGNABLE

    @property
    def key(self) -> Mapping[str, Any]:
        return {**self.model_key, "version": VERSION}

    def checked(self) -> QwenAlignerSpec:
        pinned, config = self.pinned("aligner", _WHAT)
        aligning.check_config(config, self.model, _WHAT)
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
                times[index] = aligning.word_times(requests[index], placed[index][1], token_times, self._grid_ms)
        return times

    def _place(self, request: AlignmentRequest) -> aligning.Placed | None:
        def split(text: str, language: str) -> list[str]:
            tokens: list[str] = self._words.encode_timestamp(text, language)[0]
            return tokens

        return aligning.place(request, self._network.languages, split, self._words.is_kept_char)

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
            found.append(aligning.pairs(classes, self._grid_ms))
        for times, words in zip(found, tokens, strict=True):
            check_counts("Qwen3-ForcedAligner", len(words), len(times))
        return found

    def _prompt(self, tokens: Sequence[str], audio_tokens: int) -> list[int]:
        network = self._network
        ids = aligning.prompt(tokens, network.tokenizer)
        at = ids.index(network.audio_token)
        return [*ids[:at], *[network.audio_token] * audio_tokens, *ids[at + 1 :]]
