"""The recognizer `qwen`: Qwen3-ASR behind the seam of transforms.engines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from schemas.config import ConfigError
from transforms.engines import Hypothesis, Utterance, check_counts
from transforms.engines.qwen import asking
from transforms.engines.qwen.checkpoint import Checkpoint
from transforms.engines.qwen.features import shared_log_mel
from transforms.engines.qwen.languages import NAMES

if TYPE_CHECKING:
    from transforms.engines.qwen.asking import Generated
    from transforms.engines.qwen.network import Network

VERSION = 1
"""Part of the key: to be raised with every change in this folder that changes texts."""
_WHAT = "engine 'qwen'"
_LONGEST_S = 1200


@dataclass(frozen=True)
class QwenSpec(Checkpoint):
    """`tokens_per_s`: limit of generated tokens for each second of audio. `n_best`: above 1, a beam of that width fills
    `alternatives`. `max_context_tokens`: a longer context is cut, and flagged. `cuda_graphs`: a GPU replays the steps
    of decoding instead of being told each kernel (graphs.py)."""

    model: str = "Qwen/Qwen3-ASR-0.6B"
    tokens_per_s: float = 16.0
    n_best: int = 1
    max_context_tokens: int = 1000
    cuda_graphs: bool = False

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
        from transforms.engines.qwen.graphs import Graphs
        from transforms.engines.qwen.growing import Growing
        from transforms.engines.qwen.network import Network

        self._spec = spec
        self._network: Network = Network(spec, _WHAT)
        if spec.cuda_graphs:
            self._network.graphs = Graphs(self._network)
        self._growing = Growing(self._network)

    def recognize(self, utterances: Sequence[Utterance]) -> list[Hypothesis]:
        from transforms.engines.qwen.network import memory_and_device_errors

        for utterance in utterances:
            asking.check(utterance, self._network.languages, _LONGEST_S)
        with memory_and_device_errors(self._network.forget):
            found = self._recognize(utterances)
            again = {i: wide for i, h in enumerate(found) if (wide := asking.wider(utterances[i], h))}
            for index, hypothesis in zip(again, self._recognize(list(again.values())), strict=True):
                found[index] = asking.better(utterances[index], found[index], hypothesis)
        return found

    def _recognize(self, utterances: Sequence[Utterance]) -> list[Hypothesis]:
        asked = [self._ids(utterance) for utterance in utterances]
        answers: dict[int, list[Generated]] = {}
        for read, grows in ((self._read, False), (self._read_on, True)):
            indexes = [index for index, one in enumerate(utterances) if (one.growth is not None) == grows]
            if indexes:
                found = read([utterances[index] for index in indexes], [asked[index][0] for index in indexes])
                check_counts("Qwen3-ASR's decoder", len(indexes), len(found))
                answers.update(zip(indexes, found, strict=True))
        return [
            asking.hypothesis(utterance, answers[index], flags, self._decode)
            for index, (utterance, (_, flags)) in enumerate(zip(utterances, asked, strict=True))
        ]

    def _read(self, utterances: Sequence[Utterance], prompts: Sequence[list[int]]) -> list[list[Generated]]:
        """The answers to each, best first. `prompts`: ids with one placeholder for the audio."""
        from transforms.engines.qwen.decoding import Prompt, beam, greedy

        network = self._network
        audio = network.encode([shared_log_mel(u.samples, network.mel_filters) for u in utterances])
        built = []
        for utterance, ids, heard in zip(utterances, prompts, audio, strict=True):
            at = ids.index(network.audio_token)
            ids = [*ids[:at], *[network.audio_token] * len(heard), *ids[at + 1 :]]
            built.append(Prompt(ids, heard, self._most(utterance)))
        if self._spec.n_best > 1:
            return [beam(network, prompt, self._spec.n_best) for prompt in built]
        return [[generated] for generated in greedy(network, built)]

    def _read_on(self, utterances: Sequence[Utterance], prompts: Sequence[list[int]]) -> list[list[Generated]]:
        """The same for what is still being said."""
        most = [self._most(utterance) for utterance in utterances]
        return [[generated] for generated in self._growing.read(utterances, prompts, most, self._decode)]

    def _ids(self, utterance: Utterance) -> tuple[list[int], tuple[str, ...]]:
        template = self._network.processor.apply_chat_template
        return asking.prompt(utterance, self._network.tokenizer, template, self._spec.max_context_tokens)

    def _most(self, utterance: Utterance) -> int:
        return asking.most_tokens(utterance, self._spec.tokens_per_s)

    def _decode(self, ids: list[int]) -> str:
        text: str = self._network.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text
