"""Steps of fixed shapes say what steps of a growing cache say, and can be replayed: a step is traced, which leaves of it
what a CUDA graph keeps, its operations and their memory, and every later one is that trace."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from tests.engines.qwen.conftest import TINY, Clip
from transforms.engines import Growth, Hypothesis, Utterance
from transforms.engines.qwen import decoding, graphs
from transforms.engines.qwen.graphs import Graphs, Replayed, State
from transforms.engines.qwen.network import Network
from transforms.engines.qwen.recognizer import QwenSpec


@pytest.fixture(scope="module")
def fixed() -> Any:
    return QwenSpec(model=str(TINY / "recognizer"), cuda_graphs=True).checked().load()


@pytest.fixture(autouse=True)
def anew(fixed: Any) -> Iterator[None]:
    yield
    fixed._network.forget()


def by_trace(network: Network, state: State, pool: Any) -> Callable[[], None]:
    """In place of graphs.captured."""
    trace: Any = None

    def call() -> None:
        nonlocal trace
        if trace is None:
            before = [one.clone() for one in (state.said, state.positions, state.mask, state.at)]
            trace = make_fx(lambda given: graphs.step(network, given))(state)
            for one, was in zip((state.said, state.positions, state.mask, state.at), before, strict=True):
                one.copy_(was)
        trace(state)

    return call


def same(ours: Sequence[Hypothesis], theirs: Sequence[Hypothesis]) -> None:
    assert [one.text for one in ours] == [one.text for one in theirs]
    assert [one.token_count for one in ours] == [one.token_count for one in theirs]
    assert [one.mean_logprob for one in ours] == pytest.approx([one.mean_logprob for one in theirs], abs=1e-4)
    assert any(one.text for one in ours)


@pytest.mark.parametrize("traced", [False, True])
def test_the_same_is_said(
    fixed: Any, recognizer: Any, sentences: list[Clip], traced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows leave one after the other, into smaller shapes, and lengths are so short that many are passed."""
    monkeypatch.setattr(graphs, "_LENGTHS", tuple(range(64, 128, 4)))
    if traced:
        monkeypatch.setattr(graphs, "captured", by_trace)
    utterances = [Utterance(clip.samples) for clip in sentences[:11]]
    same(fixed.recognize(utterances), recognizer.recognize(utterances))
    shapes = fixed._network.graphs._shapes
    assert {rows for rows, _ in shapes} >= {16, 4, 2}
    assert len({length for _, length in shapes}) > 2


@pytest.mark.gpu
def test_a_gpu_replays_what_it_would_be_told(sentences: list[Clip]) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    told, replayed = (
        QwenSpec(model=str(TINY / "recognizer"), dtype="float32", cuda_graphs=wanted).checked().load()
        for wanted in (False, True)
    )
    for batch in (sentences[:11], sentences[:1], sentences[3:9], sentences):
        utterances = [Utterance(clip.samples) for clip in batch]
        same(replayed.recognize(utterances), told.recognize(utterances))


def test_batches_of_all_sizes_one_after_the_other(fixed: Any, recognizer: Any, sentences: list[Clip]) -> None:
    """What a shape holds of the batch before, a dead row's or a longer one's, is not heard in the next."""
    clips = sorted(sentences, key=lambda clip: len(clip.samples))
    for batch in (clips[:1], clips[-3:], clips[2:10], clips[:2], clips[-3:]):
        utterances = [Utterance(clip.samples) for clip in batch]
        same(fixed.recognize(utterances), recognizer.recognize(utterances))


def test_an_utterance_that_grows(fixed: Any, recognizer: Any, sentences: list[Clip]) -> None:
    clip = max(sentences, key=lambda clip: len(clip.samples))
    ours, theirs = Growth(), Growth()
    for share in (0.4, 0.7, 1.0):
        samples = clip.samples[: int(share * len(clip.samples))]
        same(
            fixed.recognize([Utterance(samples, growth=ours)]),
            recognizer.recognize([Utterance(samples, growth=theirs)]),
        )


def test_memory_is_that_of_the_largest_batch_and_can_be_given_back(fixed: Any, sentences: list[Clip]) -> None:
    held: Graphs = fixed._network.graphs
    fixed.recognize([Utterance(clip.samples) for clip in sentences[:8]])
    size = len(held._memory[0][0])
    assert max(rows for rows, _ in held._shapes) == 8
    fixed.recognize([Utterance(sentences[0].samples)])
    assert len(held._memory[0][0]) == size == max(rows * length for rows, length in held._shapes) * _per_token(held)
    ends = {layer[0].untyped_storage().data_ptr() for shape in held._shapes.values() for layer in shape.state.layers}
    assert ends == {keys.untyped_storage().data_ptr() for keys, _ in held._memory}
    fixed._network.forget()
    assert not held._memory
    assert not held._shapes


def test_memory_is_given_back_where_it_runs_out(
    fixed: Any, sentences: list[Clip], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    utterances = [Utterance(clip.samples) for clip in sentences[:2]]
    fixed.recognize(utterances)
    assert fixed._network.graphs._memory
    monkeypatch.setattr(fixed._network, "encode", full)
    with pytest.raises(MemoryError):
        fixed.recognize(utterances)
    assert not fixed._network.graphs._memory


def test_the_prompts_cache_is_not_kept_beside_the_answers(
    fixed: Any, sentences: list[Clip], monkeypatch: pytest.MonkeyPatch
) -> None:
    caches: list[Any] = []

    class Noted(Replayed):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            caches.append(given[-1])

    monkeypatch.setattr(decoding, "Replayed", Noted)
    fixed.recognize([Utterance(clip.samples) for clip in sentences[:2]])
    assert caches
    assert not any(cache.layers for cache in caches)


def _per_token(held: Graphs) -> int:
    shape = next(iter(held._shapes.values()))
    keys, _ = shape.state.layers[0]
    return keys.shape[1] * keys.shape[3]
