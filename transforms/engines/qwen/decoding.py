"""Prompts and audio embeddings → generated tokens with their log-probabilities: greedy, or a beam for alternatives.

Only the last position of a prompt meets the vocabulary, and a row that is finished leaves the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from transformers.cache_utils import Cache, DynamicLayer

from transforms.engines.qwen.asking import Generated
from transforms.engines.qwen.graphs import Replayed
from transforms.engines.qwen.network import Network

_CACHE_BLOCK = 64
"""Tokens by which the cache grows."""


@dataclass(frozen=True)
class Prompt:
    """`ids` with the audio's placeholders; at most `max_new_tokens` are generated after them."""

    ids: list[int]
    audio: torch.Tensor
    max_new_tokens: int


class RoomyLayer(DynamicLayer):
    """One layer's keys and values (rows, heads, tokens, head width), with room for tokens to come: the library's own
    copies everything for each new token. It may begin with some."""

    _room: list[torch.Tensor]

    def __init__(self, keys: torch.Tensor | None = None, values: torch.Tensor | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        if keys is not None and values is not None:
            self._begin(keys, values)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, cache_kwargs: Any = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        before = self.get_seq_length()
        after = before + key_states.shape[2]
        news = (key_states, value_states)
        if before == 0:
            return self._begin(*news)
        if after > self._room[0].shape[2]:
            self._room = [F.pad(old, (0, 0, 0, key_states.shape[2] + _CACHE_BLOCK)) for old in self._room]
        for room, new in zip(self._room, news, strict=True):
            room[:, :, before:after] = new
        return self._filled(after)

    def _begin(self, *news: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self._room = [F.pad(new, (0, 0, 0, _CACHE_BLOCK)) for new in news]
        self.is_initialized = True
        return self._filled(news[0].shape[2])

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        length = self.get_seq_length()
        self._room = [room[indices] for room in self._room]
        self._filled(length)

    def _filled(self, length: int) -> tuple[torch.Tensor, torch.Tensor]:
        self.keys, self.values = (room[:, :, :length] for room in self._room)
        return self.keys, self.values


def greedy(network: Network, prompts: Sequence[Prompt]) -> list[Generated]:
    """The most probable token at each step; one result a prompt, in order."""
    results = [Generated() for _ in prompts]
    embeddings, mask = network.padded([network.embed(prompt.ids, prompt.audio) for prompt in prompts])
    cache = Cache(layer_class_to_replicate=RoomyLayer)
    first = network.most_probable(network.hidden(embeddings, mask, cache)[:, -1])
    go_on(network, results, [prompt.max_new_tokens for prompt in prompts], first, mask, cache)
    return results


def go_on(
    network: Network,
    results: Sequence[Generated],
    most: Sequence[int],
    said: torch.Tensor,
    mask: torch.Tensor,
    cache: Cache,
) -> None:
    """Adds to each of `results` what follows, the most probable token at each step, until it has ended or has as many
    tokens as `most` says. `said`: what most_probable says of the first of them, whose row of `cache` holds what `mask`
    (rows, tokens) calls real."""
    rows = list(range(len(results)))
    steps = Eager(network, said, mask, cache) if network.graphs is None else Replayed(network.graphs, said, mask, cache)
    best, tokens = said.tolist()
    while True:
        keep = []
        for place, (row, token, logprob) in enumerate(zip(rows, map(int, tokens), best, strict=True)):
            result = results[row]
            result.logprob += logprob
            result.finished = token in network.end_ids
            if not result.finished:
                result.ids.append(token)
                result.logprobs.append(logprob)
            if not result.finished and len(result.ids) < most[row]:
                keep.append(place)
        if not keep:
            return
        rows = [rows[place] for place in keep]
        best, tokens = steps.step(keep)


class Eager:
    """Answers being written, each in a row of a cache that grows with them."""

    def __init__(self, network: Network, said: torch.Tensor, mask: torch.Tensor, cache: Cache) -> None:
        self._network, self._tokens, self._mask, self._cache = network, said[1].long(), mask, cache

    def step(self, keep: Sequence[int]) -> list[list[float]]:
        """Goes on with the rows at these places of those before: the log-probabilities and the tokens of each."""
        network = self._network
        if len(keep) < len(self._tokens):
            places = torch.tensor(keep, device=network.device)
            self._cache.batch_select_indices(places)
            self._mask, self._tokens = self._mask[places], self._tokens[places]
        self._mask = torch.cat([self._mask, self._mask.new_ones(len(keep), 1)], dim=1)
        embeddings = network.thinker.get_input_embeddings()(self._tokens[:, None])
        said = network.most_probable(network.hidden(embeddings, self._mask, self._cache)[:, -1])
        self._tokens = said[1].long()
        found: list[list[float]] = said.tolist()
        return found


def beam(network: Network, prompt: Prompt, width: int) -> list[Generated]:
    """The `width` best answers that a beam of that width finds, best first by their mean log-probability a token."""
    embeddings, mask = network.padded([network.embed(prompt.ids, prompt.audio)])
    cache = Cache(layer_class_to_replicate=RoomyLayer)
    open_beams, done = [Generated()], []
    while True:
        logprobs = network.logits(network.hidden(embeddings, mask, cache)[:, -1]).log_softmax(dim=-1)
        totals = logprobs + torch.tensor([b.logprob for b in open_beams], device=network.device)[:, None]
        best, places = totals.flatten().topk(min(2 * width, totals.numel()))
        candidates: list[tuple[int, Generated]] = []
        for total, place in zip(best.tolist(), places.tolist(), strict=True):
            row, token = divmod(place, logprobs.shape[1])
            before = open_beams[row]
            if token in network.end_ids:
                done.append(Generated(before.ids, before.logprobs, True, total))
            else:
                step = [*before.logprobs, total - before.logprob]
                candidates.append((row, Generated([*before.ids, token], step, False, total)))
        candidates = candidates[:width]
        open_beams = [generated for _, generated in candidates]
        if len(done) >= width or len(open_beams[0].ids) >= prompt.max_new_tokens:
            ranked = sorted(done or open_beams, key=lambda g: -g.logprob / (len(g.ids) + 1))
            return ranked[:width]
        rows = torch.tensor([row for row, _ in candidates], device=network.device)
        cache.batch_select_indices(rows)
        mask = torch.cat([mask[rows], mask.new_ones(len(rows), 1)], dim=1)
        tokens = torch.tensor([[generated.ids[-1]] for generated in open_beams], device=network.device)
        embeddings = network.thinker.get_input_embeddings()(tokens)
