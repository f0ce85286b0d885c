from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.engines import Growth, Utterance
from transforms.recognition.batching import Window


def _filled(window: Window[Utterance], *lengths_ms: int) -> Window[Utterance]:
    for length in lengths_ms:
        window.add(length, Utterance(np.zeros(length * 16, np.float32)))
    return window


def _drained(window: Window[Utterance], last: bool = True) -> list[list[int]]:
    batches = []
    while len(window):
        batches.append([length for length, _ in window.take(last)])
    return batches


@given(st.lists(st.integers(1, 30_000), max_size=40), st.sampled_from([1.0, 29.5, 240.0]), st.booleans())
def test_each_item_comes_out_once_in_batches_of_bounded_padded_audio(
    lengths: list[int], most_s: float, last: bool
) -> None:
    window = _filled(Window(most_s), *lengths)
    assert window.audio_s == pytest.approx(sum(lengths) / 1000)
    batches = _drained(window, last)
    assert sorted(length for batch in batches for length in batch) == sorted(lengths)
    assert all(batch and (len(batch) == 1 or len(batch) * max(batch) <= most_s * 1000 + 1e-6) for batch in batches)
    assert not last or all(min(before) >= max(after) for before, after in pairwise(batches))
    assert window.audio_s == pytest.approx(0, abs=1e-6)


def test_when_nothing_more_comes_a_batch_holds_as_many_of_the_longest_as_fit() -> None:
    window = _filled(Window(60), 20_000, 1000, 19_000, 15_000, 18_000, 500)
    assert [sorted(batch) for batch in _drained(window)] == [[18_000, 19_000, 20_000], [500, 1000, 15_000]]


def test_while_more_comes_those_of_like_length_go_and_the_odd_ones_wait_for_company() -> None:
    window = _filled(Window(20), 19_000, 5000, 1000, 4900, 5100, 4800, 9000)
    assert [sorted(length for length, _ in window.take()) for _ in range(2)] == [[19_000], [4900, 5000, 5100]]
    _filled(window, 9100)
    assert sorted(length for length, _ in window.take()) == [9000, 9100]
    assert sorted(length for length, _ in window.take()) == [1000, 4800], "no full batch: all of it"


def test_a_stream_of_mixed_lengths_is_not_padded_with_the_short_ones_that_wait() -> None:
    """Longest first, the window fills up with short ones, and each long one is taken at once, with them beside it."""
    rng = np.random.default_rng(0)
    lengths_ms = rng.integers(2000, 25_000, 1000)
    window: Window[Utterance] = Window(240)
    real_ms, padded_ms = 0, 0
    for length_ms in lengths_ms:
        _filled(window, int(length_ms))
        if window.audio_s >= 1200:
            batch = [length for length, _ in window.take()]
            real_ms, padded_ms = real_ms + sum(batch), padded_ms + len(batch) * max(batch)
    assert 1 - real_ms / padded_ms < 0.1


def test_a_batch_is_full_when_its_audio_is_there() -> None:
    window: Window[Utterance] = Window(10)
    assert not window.has_full_batch
    assert not _filled(window, 4000, 5999).has_full_batch
    assert _filled(window, 2).has_full_batch
    window.take()
    assert not window.has_full_batch


def test_an_empty_window_has_nothing_to_take() -> None:
    with pytest.raises(IndexError):
        Window(240).take()


def test_after_out_of_memory_batches_are_half_as_large_and_full_sooner() -> None:
    window = _filled(Window(60), *[10_000] * 9)
    batch = [item for _, item in window.take()]
    assert len(batch) == 6
    window.too_large(batch)
    assert window.has_full_batch
    assert len(window.take()) == 3
    assert not _filled(window, 14_000, 14_000).has_full_batch
    assert _filled(window, 2000).has_full_batch
    window.too_large(batch[:1])
    assert _drained(window) == [[14_000], [14_000], [2000]], "one is always taken"


def test_the_next_task_of_a_process_begins_with_what_fitted() -> None:
    window = _filled(Window(60, "cramped"), *[10_000] * 6)
    window.too_large([item for _, item in window.take()])
    for engine, count in (("cramped", 3), ("roomy", 6)):
        assert len(_filled(Window(60, engine), *[10_000] * 9).take()) == count


def test_in_a_fair_window_what_came_first_goes_first_with_as_many_as_fit() -> None:
    window = _filled(Window(20, fair=True), 19_000, 5000, 1000, 4900, 5100, 4800, 9000)
    batches = [sorted(length for length, _ in window.take()) for _ in range(3)]
    assert batches == [[19_000], [1000, 4800, 4900, 5000], [5100, 9000]]


@given(st.lists(st.integers(1, 30_000), min_size=1, max_size=40), st.sampled_from([1.0, 29.5, 240.0]))
def test_a_fair_window_keeps_nobody_waiting_for_more_batches_than_came_before(
    lengths: list[int], most_s: float
) -> None:
    window: Window[Utterance] = Window(most_s, fair=True)
    left = list(enumerate(lengths))
    for number, length in left:
        window.add(number, Utterance(np.zeros(length * 16, np.float32), "en"))
    while left:
        batch = [number for number, _ in window.take()]
        longest = max(lengths[number] for number in batch)
        assert left[0][0] in batch
        assert len(batch) == 1 or len(batch) * longest <= most_s * 1000 + 1e-6
        left = [one for one in left if one[0] not in batch]
    assert not len(window)


def test_what_is_still_being_said_waits_for_what_is_whole_and_goes_by_itself() -> None:
    window: Window[Utterance] = Window(60, fair=True)
    for number, (length_s, grows) in enumerate([(5, True), (5, False), (9, True), (4, False), (6, True)]):
        samples = np.zeros(length_s * 16_000, np.float32)
        window.add(number, Utterance(samples, "en", growth=Growth() if grows else None))
    assert [sorted(number for number, _ in window.take()) for _ in range(2)] == [[1, 3], [0, 2, 4]]
