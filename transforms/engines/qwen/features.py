"""Samples → log-mel features as Whisper's and Qwen3-ASR's encoders read them, each clip by itself.

A clip is padded to whole hops and to half a second first, so that its features do not depend on what else is in a
batch, and shorter ones have something to read.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from schemas.config import SAMPLE_RATE_HZ
from transforms.engines import Samples

if TYPE_CHECKING:
    import torch

HOP_SAMPLES = 160
FRAMES_PER_S = SAMPLE_RATE_HZ // HOP_SAMPLES
_WINDOW_SAMPLES = 400
_SHORTEST_SAMPLES = SAMPLE_RATE_HZ // 2
_FLOOR = 1e-10
RANGE = 8.0
"""Powers of ten below the loudest that are kept (openai/whisper, audio.py)."""


def padded_length(samples: int) -> int:
    """Of a clip, in samples: whole hops of 10 ms, at least half a second."""
    return max(_SHORTEST_SAMPLES, -(-samples // HOP_SAMPLES) * HOP_SAMPLES)


class LogMel:
    """Computes features on a device, and keeps those of an array as long as the array lives: recognizer and aligner are
    asked about the same samples."""

    def __init__(self) -> None:
        self._kept: dict[tuple[int, str], tuple[weakref.ref[Samples], torch.Tensor]] = {}

    def __call__(self, samples: Samples, filters: torch.Tensor) -> torch.Tensor:
        """`samples`: 1-D float32, 16 kHz. `filters`: mel filters, float32 (201, bins), on the device to compute on.
        Returns float32 (bins, frames), 100 frames a second."""
        key = (id(samples), str(filters.device))
        if key in self._kept and self._kept[key][0]() is samples:
            return self._kept[key][1]
        found = log_mel(samples, filters)
        self._kept[key] = (weakref.ref(samples, lambda _: self._kept.pop(key, None)), found)
        return found


shared_log_mel = LogMel()
"""One for all engines of this process."""


def log_mel(samples: Samples, filters: torch.Tensor) -> torch.Tensor:
    """As LogMel, computed anew."""
    found = decades(samples, filters)
    return in_range(found, found.max())


def in_range(found: torch.Tensor, loudest: torch.Tensor) -> torch.Tensor:
    """`decades` as the encoder reads them, of a clip whose loudest value is `loudest`."""
    import torch

    return (torch.maximum(found, loudest - RANGE) + 4.0) / 4.0


def decades(samples: Samples, filters: torch.Tensor) -> torch.Tensor:
    """Powers of ten in each mel band: float32 (bins, frames), as LogMel's before they know the loudest."""
    import torch

    padded = np.zeros(padded_length(len(samples)), dtype=np.float32)
    padded[: len(samples)] = samples
    wave = torch.from_numpy(padded).to(filters.device)
    window = torch.hann_window(_WINDOW_SAMPLES, device=filters.device)
    spectrum: Any = torch.stft(wave, _WINDOW_SAMPLES, HOP_SAMPLES, window=window, return_complex=True)
    power = spectrum[:, :-1].abs() ** 2
    found: torch.Tensor = (filters.T @ power).clamp(min=_FLOOR).log10()
    return found
