"""The aligner `vllm`: Qwen3-ForcedAligner in vLLM, as a model that classifies tokens, behind the seam of
transforms.engines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from schemas.config import SAMPLE_RATE_HZ
from transforms.engines import AlignmentRequest, check_counts
from transforms.engines.qwen import aligning
from transforms.engines.qwen.languages import ALIGNABLE
from transforms.engines.vllm.spec import VllmCheckpoint
from transforms.text.tokens import WordTimes

VERSION = 1
"""Part of the key: to be raised with every change in this folder that changes times."""
_WHAT = "aligner 'vllm'"
_ARCHITECTURE = "Qwen3ASRForcedAlignerForTokenClassification"
_TEXT_TOKENS_PER_S = 40
"""With two timestamps a word, of the fastest speech."""


@dataclass(frozen=True)
class VllmAlignerSpec(VllmCheckpoint):
    model: str = "Qwen/Qwen3-ForcedAligner-0.6B"
    gpu_memory_utilization: float = 0.35

    @property
    def languages(self) -> frozenset[str]:
        return ALIGNABLE

    @property
    def key(self) -> Mapping[str, Any]:
        return {**self.vllm_key, "version": VERSION}

    def checked(self) -> VllmAlignerSpec:
        pinned, config = self.in_vllm("aligner", _WHAT)
        aligning.check_config(config, self.model, _WHAT)
        return pinned

    def load(self) -> VllmAligner:
        return VllmAligner(self)


class VllmAligner:
    def __init__(self, spec: VllmAlignerSpec) -> None:
        from transformers.models.qwen3_asr import processing_qwen3_asr as processing
        from vllm import PoolingParams

        from transforms.engines.vllm.serving import Serving

        self._spec = spec
        overrides = {"architectures": [_ARCHITECTURE]}
        most_text_tokens = int(_TEXT_TOKENS_PER_S * (spec.max_audio_s + 1))
        self._serving = Serving(spec, _WHAT, most_text_tokens, runner="pooling", hf_overrides=overrides)
        self._params = PoolingParams(task="token_classify", use_activation=False)
        config = self._serving.config
        self._timestamp, self._grid_ms = int(config.timestamp_token_id), float(config.timestamp_segment_time)
        self._split = processing.Qwen3ASRProcessor.split_words_for_alignment
        self._is_kept = processing._is_kept_char
        self._asked: dict[str, tuple[int, AlignmentRequest, aligning.Placed]] = {}
        self._unasked: list[int] = []
        self._count = 0

    def reset(self) -> None:
        self._serving.drop(list(self._asked))
        self._asked.clear()
        self._unasked.clear()

    def submit(self, id: int, request: AlignmentRequest) -> None:
        placed = aligning.place(request, self._serving.languages, self._tokens, self._is_kept)
        if placed is None or len(request.samples) > self._spec.max_audio_s * SAMPLE_RATE_HZ:
            self._unasked.append(id)
            return
        ids = aligning.prompt(placed[0], self._serving.tokenizer)
        self._count += 1
        name = str(self._count)
        self._serving.add(name, ids, request.samples, self._params)
        self._asked[name] = id, request, placed

    def step(self) -> list[tuple[int, WordTimes | None]]:
        found: list[tuple[int, WordTimes | None]] = [(id, None) for id in self._unasked]
        self._unasked.clear()
        for output in self._serving.step():
            if output.request_id not in self._asked:  # it was dropped
                continue
            id, request, (tokens, places) = self._asked.pop(output.request_id)
            at = [place for place, token in enumerate(output.prompt_token_ids) if token == self._timestamp]
            classes = output.outputs.data[at].argmax(dim=-1).tolist()
            times = aligning.pairs(classes, self._grid_ms)
            check_counts("Qwen3-ForcedAligner in vLLM", len(tokens), len(times))
            found.append((id, aligning.word_times(request, places, times, self._grid_ms)))
        return found

    def _tokens(self, text: str, language: str) -> list[str]:
        tokens: list[str] = self._split(None, text, language)
        return tokens
