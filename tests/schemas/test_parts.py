from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.config import Config
from schemas.parts import CUT_WINDOW_S, Parts


def test_the_first_part_is_half_of_the_others() -> None:
    parts = Parts(Config().packing.part_minutes)
    assert [parts.start_ms(index) for index in range(4)] == [0, 300_000, 900_000, 1_500_000]
    assert [parts.length_ms(index) for index in range(3)] == [300_000, 600_000, 600_000]


@pytest.mark.parametrize(("hours", "slots", "share"), [(1, 2, 0.85), (10, 2, 0.95), (10, 4, 0.95)])
def test_one_recording_feeds_every_slot(hours: float, slots: int, share: float) -> None:
    """The first part alone, then all others at once."""
    parts, whole_ms = Parts(Config().packing.part_minutes), int(hours * 3_600_000)
    in_turns = -(-(parts.count(whole_ms) - 1) // slots)
    assert whole_ms / (parts.first_ms + in_turns * parts.part_ms) >= share * slots


@given(part_minutes=st.floats(0.5, 600), index=st.integers(1, 50))
def test_a_part_begins_where_its_window_is_filled(part_minutes: float, index: int) -> None:
    parts = Parts(part_minutes)
    enough_ms = parts.start_ms(index) + CUT_WINDOW_S * 1000
    assert (parts.count(enough_ms - 1), parts.count(enough_ms)) == (index, index + 1)


@given(part_minutes=st.floats(0.5, 600), index=st.integers(0, 50))
def test_lengths_are_what_the_sums_of_quality_need_and_windows_do_not_overlap(part_minutes: float, index: int) -> None:
    parts = Parts(part_minutes)
    assert parts.length_ms(index) > 0
    assert parts.length_ms(index) % 10_000 == 0
    assert parts.length_ms(index + 1) >= CUT_WINDOW_S * 1000


def test_an_empty_recording_is_one_part() -> None:
    assert Parts(20).count(0) == 1
