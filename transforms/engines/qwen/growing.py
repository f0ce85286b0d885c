"""Utterances that are still being said: each reading goes on from the one before, so that a second more costs the same
in a long utterance as in a short one.

The encoder's windows of eight seconds do not see each other, and the decoder's keys and values of what came before do
not change with what comes after. So of the audio only the windows that were not whole are computed again, and of the
text what nothing stands on yet; of that the last reading is a draft, which one pass confirms as far as it still holds
(speculative decoding, with exactly the text that would be read without it).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from transformers.cache_utils import Cache

from transforms.engines import Growth, Samples, Utterance
from transforms.engines.qwen.answer import ids_of
from transforms.engines.qwen.asking import Generated
from transforms.engines.qwen.decoding import RoomyLayer, go_on
from transforms.engines.qwen.features import FRAMES_PER_S, HOP_SAMPLES, RANGE, decades, in_range
from transforms.engines.qwen.network import Network, audio_tokens

_MARGIN_FRAMES = 2
"""The window of a frame's spectrum reaches 200 samples to both sides: so many hops before, none lacks any."""
_MOST_DRAFTED = 32
"""Tokens: each costs a row of the vocabulary."""

Layers = Sequence[Sequence[torch.Tensor]]
"""Keys and values of each layer, (1, heads, tokens, head width)."""


@dataclass(frozen=True)
class Read:
    """What one reading leaves to the next. `prompt`: its ids, with one placeholder for the audio. `samples`: the audio
    of whole windows, in which each value lies between `lowest` and `loudest` (decades); `layers`: of the prompt up to
    the placeholder and of them. `ids` and `logprobs` are the answer's."""

    prompt: list[int]
    samples: Samples
    lowest: float = np.inf
    loudest: float = -np.inf
    layers: Layers = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)

    @property
    def frames(self) -> int:
        return len(self.samples) // HOP_SAMPLES

    @property
    def tokens(self) -> int:
        return self.layers[0][0].shape[2] if self.layers else 0


@dataclass(frozen=True)
class _Asked:
    """A reading on the way: from `before`, with features that are not computed yet, to `after`, without its layers and
    its answer. `begin`: what of the prompt is not computed yet, up to the audio, and `end`: after it."""

    before: Read
    after: Read
    features: torch.Tensor
    begin: list[int]
    end: list[int]


class Growing:
    """Reads utterances that have a growth, on a loaded checkpoint."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._window_frames = int(network.thinker.audio_tower.config.n_window_infer)

    def read(
        self,
        utterances: Sequence[Utterance],
        prompts: Sequence[list[int]],
        most: Sequence[int],
        decode: Callable[[list[int]], str],
    ) -> list[Generated]:
        """The answers, in order. `prompts`: ids with one placeholder for the audio; `most`: tokens of each answer."""
        network = self._network
        growths = [utterance.growth or Growth() for utterance in utterances]
        asked = [self._asked(*one) for one in zip(utterances, growths, prompts, strict=True)]
        audio = network.encode([one.features for one in asked])
        results, drafts, rows = [], [], []
        for one, heard, growth in zip(asked, audio, growths, strict=True):
            said = one.before.ids
            standing = ids_of(len(growth.standing), said, decode) if growth.standing else 0
            drafts.append(said[standing : standing + _MOST_DRAFTED])
            tokens = [*one.begin, *[network.audio_token] * len(heard), *one.end, *said[:standing], *drafts[-1]]
            rows.append(network.embed(tokens, heard))
            logprobs = one.before.logprobs[:standing]
            results.append(Generated(said[:standing], logprobs, logprob=sum(logprobs)))
        cache, kept = self._cache([one.before for one in asked])
        embeddings, new = network.padded(rows)
        mask = torch.cat([kept, new], dim=1)
        states = network.hidden(embeddings, mask, cache)
        layers = [_kept(cache, row, len(rows[row]), one) for row, one in enumerate(asked)]
        following = self._confirm(states, drafts, results, mask)
        go_on(network, results, most, following, mask, cache)
        for growth, one, kept_layers, result in zip(growths, asked, layers, results, strict=True):
            growth.kept = replace(one.after, layers=kept_layers, ids=result.ids, logprobs=result.logprobs)
        return results

    def _asked(self, utterance: Utterance, growth: Growth, prompt: list[int]) -> _Asked:
        samples, before = utterance.samples, growth.kept
        if before is None or before.prompt != prompt:
            before = Read(prompt, samples[:0])
        start = max(0, before.frames - _MARGIN_FRAMES)
        found = decades(samples[start * HOP_SAMPLES :], self._network.mel_filters)[:, before.frames - start :]
        loudest = max(before.loudest, float(found.max()))
        # What is more than so much below the loudest is raised to there: a louder sound changes what came before it.
        in_reach = loudest == before.loudest or before.lowest >= loudest - RANGE
        if before.frames and not (in_reach and np.array_equal(before.samples, samples[: len(before.samples)])):
            anew = Read(prompt, samples[:0], ids=before.ids, logprobs=before.logprobs)
            return self._asked(utterance, Growth(growth.standing, anew), prompt)
        # A second stays: where less is left, the encoder computes its last block as of a short clip.
        whole = max(0, found.shape[1] - FRAMES_PER_S) // self._window_frames * self._window_frames
        after = replace(before, loudest=loudest)
        if whole:
            lowest = min(before.lowest, float(found[:, :whole].min()))
            after = replace(after, samples=samples[: (before.frames + whole) * HOP_SAMPLES].copy(), lowest=lowest)
        at = prompt.index(self._network.audio_token)
        features = in_range(found, found.new_tensor(loudest))
        return _Asked(before, after, features, [] if before.layers else prompt[:at], prompt[at + 1 :])

    def _cache(self, before: Sequence[Read]) -> tuple[Cache, torch.Tensor]:
        """What is kept of all, padded on the left; the mask of what is real."""
        device, longest = self._network.device, max(one.tokens for one in before)
        starts = torch.tensor([longest - one.tokens for one in before], device=device)
        mask = (torch.arange(longest, device=device)[None] >= starts[:, None]).long()
        if not longest:
            return Cache(layer_class_to_replicate=RoomyLayer), mask
        empty = [tuple(side[:, :, :0] for side in layer) for layer in next(one.layers for one in before if one.layers)]
        sides = [
            [torch.cat([_padded(row[side], longest) for row in rows]) for side in (0, 1)]
            for rows in zip(*(one.layers or empty for one in before), strict=True)
        ]
        return Cache(layers=[RoomyLayer(*layer) for layer in sides]), mask

    def _confirm(
        self, states: torch.Tensor, drafts: Sequence[list[int]], results: Sequence[Generated], mask: torch.Tensor
    ) -> torch.Tensor:
        """Adds to each of `results` as much of its draft as would be read, hides the rest in `mask`, and returns
        most_probable of what follows. `states` (rows, tokens, width): of each row the last are the draft's."""
        places = [(row, -place - 1) for row, draft in enumerate(drafts) for place in range(len(draft), -1, -1)]
        said = self._network.most_probable(states[tuple(torch.tensor(places, device=states.device).T)])
        best, tokens = said.tolist()
        following, begin = [], 0
        for row, (draft, result) in enumerate(zip(drafts, results, strict=True)):
            held = 0
            while held < len(draft) and tokens[begin + held] == draft[held]:
                held += 1
            logprobs = best[begin : begin + held]
            result.ids += draft[:held]
            result.logprobs += logprobs
            result.logprob += sum(logprobs)
            mask[row, mask.shape[1] - (len(draft) - held) :] = 0
            following.append(begin + held)
            begin += len(draft) + 1
        return said[:, torch.tensor(following, device=states.device)]


def _padded(side: torch.Tensor, tokens: int) -> torch.Tensor:
    return F.pad(side, (0, 0, tokens - side.shape[2], 0))


def _kept(cache: Cache, row: int, new_tokens: int, one: _Asked) -> Layers:
    """The keys and values that later readings need: those there were, and of `row`, whose last `new_tokens` are new,
    the prompt's beginning and the windows that are whole now."""
    count = len(one.begin) + audio_tokens(one.after.frames) - audio_tokens(one.before.frames)
    if not count:
        return one.before.layers
    found = []
    layers: Any = cache.layers
    for index, layer in enumerate(layers):
        start = layer.keys.shape[2] - new_tokens
        news = [side[row : row + 1, :, start : start + count].clone() for side in (layer.keys, layer.values)]
        olds = one.before.layers[index] if one.before.layers else ()
        found.append([torch.cat([old, new], dim=2) for old, new in zip(olds, news, strict=True)] if olds else news)
    return found
