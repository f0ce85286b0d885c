"""The recognizer `vllm`: Qwen3-ASR in vLLM behind the seam of transforms.engines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from schemas.config import ConfigError
from transforms.engines import Hypothesis, Utterance
from transforms.engines.qwen import asking
from transforms.engines.qwen.asking import Generated
from transforms.engines.qwen.languages import NAMES
from transforms.engines.vllm.spec import VllmCheckpoint

VERSION = 1
"""Part of the key: to be raised with every change in this folder that changes texts."""
_WHAT = "engine 'vllm'"


@dataclass(frozen=True)
class VllmSpec(VllmCheckpoint):
    """`tokens_per_s`: limit of generated tokens for each second of audio. `max_context_tokens`: a longer context is
    cut, and flagged."""

    model: str = "Qwen/Qwen3-ASR-0.6B"
    tokens_per_s: float = 16.0
    max_context_tokens: int = 1000

    @property
    def key(self) -> Mapping[str, Any]:
        mine = {"tokens_per_s": self.tokens_per_s, "max_context_tokens": self.max_context_tokens, "version": VERSION}
        return {**self.vllm_key, **mine}

    @property
    def languages(self) -> frozenset[str]:
        return frozenset(NAMES)

    def checked(self) -> VllmSpec:
        if self.tokens_per_s <= 0 or self.max_context_tokens < 0:
            raise ConfigError(f"{_WHAT}: tokens_per_s > 0 and max_context_tokens ≥ 0 are asked for: {self}")
        pinned, _ = self.in_vllm("recognizer", _WHAT)
        return pinned

    def load(self) -> VllmRecognizer:
        return VllmRecognizer(self)


@dataclass
class _Asked:
    """`utterance` is what is asked; it may be another with room around it, to which the answer was `first`."""

    id: int
    utterance: Utterance
    flags: tuple[str, ...]
    original: Utterance
    first: Hypothesis | None = None


class VllmRecognizer:
    def __init__(self, spec: VllmSpec) -> None:
        from vllm import SamplingParams

        from transforms.engines.vllm.serving import Serving

        self._spec, self._params = spec, SamplingParams
        most_answer_tokens = int(spec.tokens_per_s * (spec.max_audio_s + 1)) + asking.SPARE_TOKENS
        self._serving = Serving(spec, _WHAT, most_answer_tokens + spec.max_context_tokens)
        self._asked: dict[str, _Asked] = {}
        self._count = 0

    def reset(self) -> None:
        self._serving.drop(list(self._asked))
        self._asked.clear()

    def submit(self, id: int, utterance: Utterance) -> None:
        asking.check(utterance, self._serving.languages, self._spec.max_audio_s)
        self._ask(id, utterance, utterance)

    def step(self) -> list[tuple[int, Hypothesis]]:
        found = []
        for output in self._serving.step():
            if output.request_id not in self._asked:  # it was dropped
                continue
            asked = self._asked.pop(output.request_id)
            hypothesis = asking.hypothesis(asked.utterance, [_generated(output)], asked.flags, self._decode)
            if asked.first is not None:
                found.append((asked.id, asking.better(asked.original, asked.first, hypothesis)))
            elif (wide := asking.wider(asked.utterance, hypothesis)) is not None:
                self._ask(asked.id, wide, asked.original, hypothesis)
            else:
                found.append((asked.id, hypothesis))
        return found

    def _ask(self, id: int, utterance: Utterance, original: Utterance, first: Hypothesis | None = None) -> None:
        tokenizer = self._serving.tokenizer
        template = tokenizer.apply_chat_template
        ids, flags = asking.prompt(utterance, tokenizer, template, self._spec.max_context_tokens)
        most_tokens = asking.most_tokens(utterance, self._spec.tokens_per_s)
        params = self._params(temperature=0.0, logprobs=0, max_tokens=most_tokens, detokenize=False)
        self._count += 1
        name = str(self._count)
        self._serving.add(name, ids, utterance.samples, params)
        self._asked[name] = _Asked(id, utterance, flags, original, first)

    def _decode(self, ids: list[int]) -> str:
        tokenizer = self._serving.tokenizer
        text: str = tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text


def _generated(output: Any) -> Generated:
    """vLLM's answer. Its last token is what ended it, unless it was cut at the limit."""
    (answer,) = output.outputs
    ids = list(answer.token_ids)
    logprobs = [step[token].logprob for step, token in zip(answer.logprobs, ids, strict=True)]
    finished = answer.finish_reason == "stop"
    kept = len(ids) - 1 if finished else len(ids)
    return Generated(ids[:kept], logprobs[:kept], finished, sum(logprobs))
