"""The recognizer `qwen`: Qwen3-ASR behind the seam of transforms.engines."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from schemas.config import SAMPLE_RATE_HZ, ConfigError
from transforms.engines import Alternative, Hypothesis, Utterance, check_counts
from transforms.engines.qwen.answer import TAG, read_answer
from transforms.engines.qwen.checkpoint import Checkpoint
from transforms.engines.qwen.features import shared_log_mel
from transforms.engines.qwen.languages import NAMES
from transforms.errors import RecordingError

if TYPE_CHECKING:
    from transforms.engines.qwen.decoding import Generated, Prompt
    from transforms.engines.qwen.network import Network

VERSION = 1
"""Part of the key: to be raised with every change in this folder that changes texts."""
_WHAT = "engine 'qwen'"
_LONGEST_S = 1200
_SPARE_TOKENS = 24
"""For the language and for very short clips, beyond `tokens_per_s`."""
_LOUD = 10 ** (-50 / 20)
"""-50 dBFS: quieter than any speech that VAD lets through at a usual level."""
_SURELY_NOTHING = 0.9
"""Probability of 'language None' from which an empty answer is not asked again."""
_MARGIN_SAMPLES = SAMPLE_RATE_HZ // 2
_SPECIAL = re.compile(rf"<\|[^|<>]*\|>|{TAG}")


@dataclass(frozen=True)
class QwenSpec(Checkpoint):
    """`tokens_per_s`: limit of generated tokens for each second of audio. `n_best`: above 1, a beam of that width fills
    `alternatives`. `max_context_tokens`: a longer context is cut, and flagged."""

    model: str = "Qwen/Qwen3-ASR-0.6B"
    tokens_per_s: float = 16.0
    n_best: int = 1
    max_context_tokens: int = 1000

    @property
    def key(self) -> Mapping[str, Any]:
        return {
            **self.model_key,
            "tokens_per_s": self.tokens_per_s,
            "n_best": self.n_best,
            "max_context_tokens": self.max_context_tokens,
            "version": VERSION,
        }

    @property
    def longest_s(self) -> float:
        return _LONGEST_S

    @property
    def languages(self) -> frozenset[str]:
        return frozenset(NAMES)

    def checked(self) -> QwenSpec:
        if self.n_best < 1 or self.tokens_per_s <= 0 or self.max_context_tokens < 0:
            raise ConfigError(f"{_WHAT}: n_best ≥ 1, tokens_per_s > 0, max_context_tokens ≥ 0 are asked for: {self}")
        pinned, _ = self.pinned("recognizer", _WHAT)
        return pinned

    def load(self) -> QwenRecognizer:
        return QwenRecognizer(self)


class QwenRecognizer:
    def __init__(self, spec: QwenSpec) -> None:
        from transforms.engines.qwen.network import Network

        self._spec = spec
        self._network: Network = Network(spec, _WHAT)
        self._end_ids = self._network.end_ids

    def recognize(self, utterances: Sequence[Utterance]) -> list[Hypothesis]:
        from transforms.engines.qwen.network import memory_and_device_errors

        for utterance in utterances:
            self._check(utterance)
        with memory_and_device_errors():
            found = self._recognize(utterances)
            # A clip that comes back empty may only lack room before its first and after its last sound.
            empty = [i for i, h in enumerate(found) if _is_doubtfully_empty(h) and _is_loud(utterances[i])]
            wider = [replace(utterances[i], samples=_with_margins(utterances[i].samples), language=None) for i in empty]
            for index, hypothesis in zip(empty, self._recognize(wider), strict=True):
                if hypothesis.text and utterances[index].language in (None, hypothesis.language):
                    found[index] = hypothesis
        return found

    def _check(self, utterance: Utterance) -> None:
        if utterance.language is not None and utterance.language not in self._network.languages:
            known = ", ".join(sorted(self._network.languages))
            message = f"the model does not know the language '{utterance.language}'; it knows {known}"
            raise RecordingError("recognize", "language", message)
        if not np.isfinite(utterance.samples).all():
            message = "the audio holds values that are no numbers; convert the file anew"
            raise RecordingError("recognize", "not_finite", message)
        if len(utterance.samples) > _LONGEST_S * SAMPLE_RATE_HZ:
            message = f"the model takes at most {_LONGEST_S} s at once; lower packing.max_chunk_s"
            raise RecordingError("recognize", "too_long", message)

    def _recognize(self, utterances: Sequence[Utterance]) -> list[Hypothesis]:
        from transforms.engines.qwen.decoding import beam, greedy

        if not utterances:
            return []
        features = [shared_log_mel(u.samples, self._network.mel_filters) for u in utterances]
        audio = self._network.encode(features)
        built = [self._prompt(u, embeddings) for u, embeddings in zip(utterances, audio, strict=True)]
        prompts = [prompt for prompt, _ in built]
        if self._spec.n_best > 1:
            answers = [beam(self._network, prompt, self._end_ids, self._spec.n_best) for prompt in prompts]
        else:
            answers = [[generated] for generated in greedy(self._network, prompts, self._end_ids)]
        check_counts("Qwen3-ASR's decoder", len(utterances), len(answers))
        return [
            self._hypothesis(utterance, found, flags)
            for utterance, found, (_, flags) in zip(utterances, answers, built, strict=True)
        ]

    def _prompt(self, utterance: Utterance, audio: Any) -> tuple[Prompt, tuple[str, ...]]:
        """The prompt as the package builds it, with the context cut to its limit (and a flag, if it was)."""
        from transforms.engines.qwen.decoding import Prompt

        network, limit = self._network, self._spec.max_context_tokens
        # What looks like a special token would be one: it must not stand in what users write.
        context = _SPECIAL.sub(" ", utterance.context or "").strip()
        ids = network.tokenizer.encode(context[: 20 * limit], add_special_tokens=False)
        cut = len(ids) > limit or len(context) > 20 * limit
        if cut:
            context = network.tokenizer.decode(ids[:limit]).strip("\ufffd")
        turns = [{"role": "system", "content": context}, {"role": "user", "content": [{"type": "audio", "audio": ""}]}]
        text = network.processor.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
        if utterance.language is not None:
            text += f"language {NAMES[utterance.language]}{TAG}"
        ids = network.tokenizer.encode(text, add_special_tokens=False)
        at = ids.index(network.audio_token)
        ids = [*ids[:at], *[network.audio_token] * len(audio), *ids[at + 1 :]]
        seconds = len(utterance.samples) / SAMPLE_RATE_HZ
        prompt = Prompt(ids, audio, _SPARE_TOKENS + int(self._spec.tokens_per_s * seconds))
        return prompt, ("context_cut",) if cut else ()

    def _hypothesis(self, utterance: Utterance, found: list[Generated], flags: tuple[str, ...]) -> Hypothesis:
        best = found[0]
        answer = read_answer(best.ids, best.logprobs, self._decode)
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
                Alternative(read_answer(other.ids, other.logprobs, self._decode).text, other.logprob)
                for other in found
                if len(found) > 1
            ),
        )

    def _decode(self, ids: list[int]) -> str:
        text: str = self._network.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text


def _is_doubtfully_empty(hypothesis: Hypothesis) -> bool:
    return not hypothesis.text and (hypothesis.no_speech_probability or 0.0) < _SURELY_NOTHING


def _is_loud(utterance: Utterance) -> bool:
    samples = utterance.samples
    return len(samples) > 0 and float(np.sqrt(np.mean(np.square(samples)))) > _LOUD


def _with_margins(samples: Any) -> Any:
    return np.pad(samples, _MARGIN_SAMPLES)
