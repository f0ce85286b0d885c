from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.config import BatchingConfig
from tests.kit.works import work
from transforms.audio.front import Chunk
from transforms.recognition.batching import Window
from transforms.recognition.languages import Ready


def _ready(lengths_ms: list[int]) -> list[Ready]:
    job = work(b"-")
    return [
        Ready(Chunk(job, None, index, 0, length, np.zeros(length * 16, np.float32)), "en")
        for index, length in enumerate(lengths_ms)
    ]


def _drained(window: Window) -> list[list[int]]:
    batches = []
    while len(window):
        batches.append([item.chunk.end_ms for item in window.take()])
    return batches


@given(st.lists(st.integers(1, 30_000), max_size=40), st.sampled_from([1.0, 29.5, 240.0]))
def test_every_chunk_comes_out_once_in_batches_of_bounded_padded_audio(lengths: list[int], max_s: float) -> None:
    window = Window(BatchingConfig(max_padded_audio_s=max_s))
    window.add(_ready(lengths))
    assert window.audio_s == pytest.approx(sum(lengths) / 1000)
    batches = _drained(window)
    assert sorted(length for batch in batches for length in batch) == sorted(lengths)
    assert all(batch and (len(batch) == 1 or len(batch) * max(batch) <= max_s * 1000 + 1e-6) for batch in batches)
    assert all(min(before) >= max(after) for before, after in pairwise(batches))
    assert window.audio_s == pytest.approx(0, abs=1e-6)


def test_a_batch_holds_as_many_of_the_longest_as_fit() -> None:
    window = Window(BatchingConfig(max_padded_audio_s=60))
    window.add(_ready([20_000, 1000, 19_000, 15_000, 18_000, 500]))
    assert [sorted(batch) for batch in _drained(window)] == [[18_000, 19_000, 20_000], [500, 1000, 15_000]]


def test_a_batch_is_full_when_its_audio_is_there() -> None:
    window = Window(BatchingConfig(max_padded_audio_s=10))
    assert not window.has_full_batch
    window.add(_ready([4000, 5999]))
    assert not window.has_full_batch
    window.add(_ready([2]))
    assert window.has_full_batch
    window.take()
    assert not window.has_full_batch


def test_an_empty_window_has_nothing_to_take() -> None:
    with pytest.raises(IndexError):
        Window(BatchingConfig()).take()


def test_after_out_of_memory_batches_are_half_as_large_and_full_sooner() -> None:
    window = Window(BatchingConfig(max_padded_audio_s=60), "small")
    window.add(_ready([10_000] * 9))
    assert len(window.take()) == 6
    window.halve()
    assert window.has_full_batch
    assert len(window.take()) == 3
    window.add(_ready([14_000, 14_000]))
    assert not window.has_full_batch
    window.add(_ready([2000]))
    assert window.has_full_batch
    for _ in range(5):
        window.halve()
    assert _drained(window) == [[14_000], [14_000], [2000]], "one chunk is always taken"


def test_the_next_task_of_a_process_begins_with_what_fitted() -> None:
    config = BatchingConfig(max_padded_audio_s=60)
    Window(config, "smaller").halve()
    for engine, count in (("smaller", 3), ("larger", 6)):
        window = Window(config, engine)
        window.add(_ready([10_000] * 9))
        assert len(window.take()) == count
