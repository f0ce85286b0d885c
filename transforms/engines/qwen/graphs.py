"""Steps of decoding in fixed shapes, which a GPU replays as CUDA graphs: launching a step's kernels one by one from
Python takes longer than they do, whatever the batch.

There is a shape for each power of two of answers and for few lengths; all lie in the same memory, and an answer that
has ended is computed on until half of them have. A step's only way to the host is the tokens that it found.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from transformers.cache_utils import Cache, StaticLayer

from transforms.engines.qwen.attention import grouped

if TYPE_CHECKING:
    from transforms.engines.qwen.network import Network

_LENGTHS = (256, 384, 512, 768)
"""And all their doubles: tokens of an answer, its prompt's among them."""

Layer = tuple[torch.Tensor, torch.Tensor]
"""Keys and values, (rows, heads, tokens, head width)."""


class State(NamedTuple):
    """What a step reads and leaves, at fixed places in memory."""

    said: torch.Tensor
    """(2, rows) float64: the log-probabilities of the newest tokens, and those tokens."""
    positions: torch.Tensor
    """(rows,) int64: how many tokens each row has before its newest."""
    mask: torch.Tensor
    """(rows, length): which tokens are real, of those before the newest."""
    at: torch.Tensor
    """(1,) int64: where in `mask` and `layers` the newest are to stand."""
    layers: list[Layer]


def step(network: Network, state: State) -> None:
    """Computes the newest tokens and puts those that follow in their place. Does the same on the same memory whatever
    the state, and waits for nothing."""
    state.mask.index_fill_(1, state.at, True)
    embeddings = network.thinker.get_input_embeddings()(state.said[1].long()[:, None])
    with grouped(network.thinker.model.config):
        states = network.thinker.model(
            inputs_embeds=embeddings,
            attention_mask=state.mask[:, None, None],
            position_ids=state.positions[:, None],
            past_key_values=Cache(layers=[_held(*layer) for layer in state.layers]),
            use_cache=True,
            cache_position=state.at,
        ).last_hidden_state
    state.said.copy_(network.most_probable(states[:, -1]))
    state.positions.add_(1)
    state.at.add_(1)


def _held(keys: torch.Tensor, values: torch.Tensor) -> StaticLayer:
    """The library's, on memory that is there already."""
    layer = StaticLayer(keys.shape[2])
    layer.keys, layer.values, layer.is_initialized = keys, values, True
    return layer


def captured(network: Network, state: State, pool: Any) -> Callable[[], None]:
    """The step as it is called each time: on a GPU the first call computes it as usual, which capturing asks for, and
    all later ones replay it. `pool`: of memory for what lies between a step's beginning and its end."""
    usual = partial(step, network, state)
    if network.device.type != "cuda":
        return usual
    graph: Any = None

    def call() -> None:
        nonlocal graph
        if graph is not None:
            graph.replay()
            return
        usual()
        graph = torch.cuda.CUDAGraph()
        # Another thread may be aligning on this GPU: what it does meanwhile is no part of this.
        with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
            usual()

    return call


class _Shape(NamedTuple):
    state: State
    call: Callable[[], None]


class Graphs:
    """The shapes of one network, and the memory in which they lie: as much as its largest batch took."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self.forget()

    def forget(self) -> None:
        """Gives the memory back."""
        self._memory: list[Layer] = []
        self._shapes: dict[tuple[int, int], _Shape] = {}
        self._pool: Any = torch.cuda.graph_pool_handle() if self._network.device.type == "cuda" else None

    def shape(self, rows: int, tokens: int, like: Sequence[Layer]) -> _Shape:
        """One for so many answers and tokens of each, and one more; with layers `like` these."""
        rows, length = 1 << (rows - 1).bit_length(), _length(tokens + 1)
        if (rows, length) not in self._shapes:
            self._shapes[rows, length] = self._made(rows, length, like)
        return self._shapes[rows, length]

    def _made(self, rows: int, length: int, like: Sequence[Layer]) -> _Shape:
        heads, width = like[0][0].shape[1], like[0][0].shape[3]
        size = rows * heads * length * width
        if not self._memory or size > len(self._memory[0][0]):
            self.forget()
            # Zeros: what is masked is multiplied by nought, which not every number survives.
            self._memory = [(keys.new_zeros(size), values.new_zeros(size)) for keys, values in like]
        device, whole = self._network.device, (rows, heads, length, width)
        state = State(
            torch.zeros(2, rows, dtype=torch.float64, device=device),
            torch.zeros(rows, dtype=torch.int64, device=device),
            torch.zeros(rows, length, dtype=torch.bool, device=device),
            torch.zeros(1, dtype=torch.int64, device=device),
            [(keys[:size].view(whole), values[:size].view(whole)) for keys, values in self._memory],
        )
        return _Shape(state, captured(self._network, state, self._pool))


def _length(tokens: int) -> int:
    doubled = 0
    while tokens > _LENGTHS[-1] << doubled:
        doubled += 1
    return next(length << doubled for length in _LENGTHS if tokens <= length << doubled)


class Replayed:
    """Answers being written in fixed shapes, after prompts, whose cache is emptied; the interface is Eager's."""

    def __init__(self, graphs: Graphs, said: torch.Tensor, mask: torch.Tensor, cache: Cache) -> None:
        layers: Any = cache.layers
        self._graphs, self._tokens, self._places = graphs, mask.shape[1], list(range(len(mask)))
        pairs = [(layer.keys, layer.values) for layer in layers]
        self._move(State(said, mask.sum(dim=1), mask.bool(), mask.new_tensor([self._tokens]), pairs))
        layers.clear()  # its memory is for others now

    def step(self, keep: Sequence[int]) -> list[list[float]]:
        """Goes on with the rows at these places of those before: the log-probabilities and the tokens of each."""
        self._places = [self._places[place] for place in keep]
        state = self._shape.state
        if self._tokens == state.mask.shape[1] or 2 * len(keep) <= len(state.mask):
            self._move(state)
        self._shape.call()
        self._tokens += 1
        return [[side[place] for place in self._places] for side in self._shape.state.said.tolist()]

    def _move(self, before: State) -> None:
        """Into the shape that fits now."""
        self._shape = self._graphs.shape(len(self._places), self._tokens, before.layers)
        state, count, tokens = self._shape.state, len(self._places), self._tokens
        places = torch.tensor(self._places, device=before.mask.device)
        mask = before.mask[places, :tokens]
        state.mask.zero_()
        state.mask[:count, :tokens] = mask
        state.at.fill_(tokens)
        state.said[:, :count] = before.said[:, places]
        state.positions[:count] = before.positions[places]
        for new, old in zip(state.layers, before.layers, strict=True):
            for side, source in zip(new, old, strict=True):
                side[:count, :, :tokens] = source[places, :, :tokens]  # a copy: both may be the same memory
        self._places = list(range(count))
