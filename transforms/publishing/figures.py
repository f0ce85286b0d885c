"""What was counted of a recording's parts (schemas/quality.py) → the columns of recordings that say how good the
audio was."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from schemas.quality import LEVEL_STEP_DB, added

_BANDWIDTH_QUANTILE = 0.9
"""Of the spectra: a click reaches all frequencies, and speech reaches its highest now and then only."""
_LOUDNESS_OFFSET = -0.691
_ABSOLUTE_GATE_LUFS, _RELATIVE_GATE_LU = -70.0, -10.0
_MIN_SNR_DB = -20.0
_MIN_SNR_FRAMES = 10
_MIN_WHISPERED_WINDOWS = 2
"""Of two seconds each: one may be a chance."""


def figures(parts: Iterable[Mapping[str, Any] | None]) -> dict[str, float | None]:
    """The columns of recordings from its parts' rows of schemas.quality.QUALITY; null where they say nothing."""
    known = [part for part in parts if part]
    if not known:
        return {}
    sums = added(known)
    samples, pieces = sums["samples"], sums["pieces"]
    return {
        "loudness_lufs": _loudness(sums),
        "clipped_share": sums["clipped"] / samples if samples else None,
        "bandwidth_hz": _bandwidth(sums["bandwidths"]),
        "snr_db": _snr(sums),
        "dc_offset": max((total / pieces for total in sums["channel_means"]), key=abs, default=None),
        "digital_silence_share": sums["silent_pieces"] / pieces if pieces else None,
    }


def _loudness(sums: Mapping[str, Any]) -> float | None:
    """Integrated loudness after ITU-R BS.1770-5, gates included, all channels weighing 1. The K-weighting's effect is
    that on the spectra that were looked at, taken alike for all blocks."""
    if not sums["plain_power"]:
        return None
    weighting_db = 10 * math.log10(sums["weighted_power"] / sums["plain_power"])
    blocks = {level * LEVEL_STEP_DB + weighting_db + _LOUDNESS_OFFSET: n for level, n in sums["levels"].items()}
    mean = _gated_mean(blocks, _ABSOLUTE_GATE_LUFS)
    return None if mean is None else _gated_mean(blocks, max(_ABSOLUTE_GATE_LUFS, mean + _RELATIVE_GATE_LU))


def unheard(parts: Iterable[Mapping[str, Any] | None]) -> bool:
    """True if enough of a recording's parts may be a voice that VAD did not hear."""
    return int(added(part for part in parts if part)["whispered_windows"]) >= _MIN_WHISPERED_WINDOWS


def _gated_mean(blocks: Mapping[float, int], gate_lufs: float) -> float | None:
    """The loudness of the mean power of the blocks above the gate."""
    loud = [(10 ** (lufs / 10), count) for lufs, count in blocks.items() if lufs > gate_lufs]
    return 10 * math.log10(sum(p * n for p, n in loud) / sum(n for _, n in loud)) if loud else None


def _bandwidth(bandwidths: Mapping[int, int]) -> int | None:
    below, total = 0, sum(bandwidths.values())
    for top_hz in sorted(bandwidths):
        below += bandwidths[top_hz]
        if below >= _BANDWIDTH_QUANTILE * total:
            return top_hz
    return None


def _snr(sums: Mapping[str, Any]) -> float | None:
    if min(sums["speech_frames"], sums["noise_frames"]) < _MIN_SNR_FRAMES:
        return None
    noise = sums["noise_power"] / sums["noise_frames"]
    speech = sums["speech_power"] / sums["speech_frames"] - noise
    return max(_MIN_SNR_DB, 10 * math.log10(max(speech, 1e-30) / noise))
