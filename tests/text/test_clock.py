from __future__ import annotations

import pytest

from transforms.text.clock import clock, exact_clock


@pytest.mark.parametrize(
    ("ms", "shown", "exactly"),
    [
        (0, "0:00", "00:00:00.000"),
        (61_999, "1:01", "00:01:01.999"),
        (3_599_999, "59:59", "00:59:59.999"),
        (3_723_450, "1:02:03", "01:02:03.450"),
        (360_000_000, "100:00:00", "100:00:00.000"),
    ],
)
def test_times_read_as_players_show_them(ms: int, shown: str, exactly: str) -> None:
    assert (clock(ms), exact_clock(ms)) == (shown, exactly)
    assert exact_clock(ms, ",") == exactly.replace(".", ",")
