"""What is counted of a part's audio quality (transforms/audio/quality.py), and how the parts of a recording add up to
the figures of transforms/publishing/figures.py."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

LEVEL_STEP_DB = 0.1
"""`levels` counts gating blocks by their power in these steps."""
QUALITY = pa.struct(
    [
        ("samples", pa.int64()),
        ("clipped", pa.int64()),
        ("pieces", pa.int64()),
        ("silent_pieces", pa.int64()),
        ("channel_means", pa.list_(pa.float64())),
        ("levels", pa.map_(pa.int32(), pa.int64())),
        ("plain_power", pa.float64()),
        ("weighted_power", pa.float64()),
        ("bandwidths", pa.map_(pa.int32(), pa.int64())),
        ("speech_power", pa.float64()),
        ("speech_frames", pa.int64()),
        ("noise_power", pa.float64()),
        ("noise_frames", pa.int64()),
        ("whispered_windows", pa.int64()),
    ]
)
"""What transforms/audio/quality.py counts of a part, such that parts add up."""


def added(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Rows of QUALITY added up, null counting as nothing."""
    total: dict[str, Any] = {field.name: _nothing(field.type) for field in QUALITY}
    for row in rows:
        for name, value in row.items():
            if isinstance(total[name], Counter):
                total[name] += Counter(dict(value or {}))
            elif isinstance(total[name], list):
                total[name] = lists_added(total[name], value or [])
            else:
                total[name] += value or 0
    return total


def _nothing(data_type: pa.DataType) -> Any:
    if pa.types.is_map(data_type):
        return Counter()
    return [] if pa.types.is_list(data_type) else 0


def lists_added(one: list[float], other: list[float]) -> list[float]:
    return [a + b for a, b in zip(one, other, strict=True)] if one and other else one or other
