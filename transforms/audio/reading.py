"""A fetched recording → blocks of 16 kHz float32, streamed: nothing here ever holds a whole recording.

Any container and codec that decoders.py opens, the wanted stretch and channels of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from schemas.config import SAMPLE_RATE_HZ, AudioConfig
from transforms.audio.decoders import DecodeReport, Opened, opened_audio
from transforms.audio.mixing import Mixer
from transforms.audio.quality import Meter
from transforms.audio.stall import watched
from transforms.errors import RecordingError
from transforms.stores.ranged import Source

Block = NDArray[np.float32]
"""Shape (channels, samples), contiguous, in [-1, 1]."""

_SEEK_MARGIN_S = 1
"""Decoding starts this much early, so that the resampler has settled when the wanted stretch begins."""


def read_audio(
    source: Source,
    name: str,
    channels: Literal["mix", "split"],
    report: DecodeReport,
    *,
    block_s: float,
    start_ms: int = 0,
    end_ms: int | None = None,
    meter: Meter | None = None,
    language: str | None = None,
    audio_track: int | None = None,
    stall_s: float = AudioConfig().stall_s,
) -> Iterator[Block]:
    """Blocks at 16 kHz of the stretch [start_ms, end_ms) of the file, in order; one channel for 'mix', all for 'split'
    (see mixing.py).

    The first block starts at sample start_ms * 16. A file that breaks off is read as far as it goes, and
    `report.damage` says so. Raises RecordingError with stage 'decode' if nothing can be read. `name` is for messages.
    `meter` hears the stretch as it was decoded, before it is mixed and resampled.
    """
    blocks = _read(
        source,
        name,
        channels,
        report,
        block_s=block_s,
        start_ms=start_ms,
        end_ms=end_ms,
        meter=meter,
        language=language,
        audio_track=audio_track,
    )
    return (block for block in watched(blocks, name, stall_s) if block.shape[1])


def _read(
    source: Source,
    name: str,
    channels: Literal["mix", "split"],
    report: DecodeReport,
    *,
    block_s: float,
    start_ms: int,
    end_ms: int | None,
    meter: Meter | None,
    language: str | None,
    audio_track: int | None,
) -> Iterator[Block]:
    """As read_audio; a block without samples says that there is progress."""
    from_s = max(0, start_ms // 1000 - _SEEK_MARGIN_S)
    with opened_audio(source, name, report, block_s, from_s, language, audio_track) as opened:
        report.header_duration_ms = opened.header_duration_ms
        position = opened.skipped_s * SAMPLE_RATE_HZ
        first, last = start_ms * SAMPLE_RATE_HZ // 1000, None if end_ms is None else end_ms * SAMPLE_RATE_HZ // 1000
        if meter is not None:
            skipped_ms = opened.skipped_s * 1000
            stretch_ms = (start_ms - skipped_ms, None if end_ms is None else end_ms - skipped_ms)
            meter.open(opened.rate_hz, opened.channels, *stretch_ms)
        for block in _resampled(opened, channels, meter, report):
            begin, position = position, position + block.shape[1]
            report.read_samples = position if last is None else min(position, last)
            wanted = block[:, max(0, first - begin) : None if last is None else max(0, last - begin)]
            yield np.ascontiguousarray(wanted)
            if last is not None and position >= last:
                return
    if report.read_samples == 0:
        detail = f" ({report.damage})" if report.damage else ""
        raise RecordingError("decode", "no_audio", f"{name} holds no audio sample{detail}; record or export it again")


def _resampled(opened: Opened, channels: str, meter: Meter | None, report: DecodeReport) -> Iterator[Block]:
    import soxr

    split = channels == "split"
    width = opened.channels if split else 1
    mixer = Mixer(opened.rate_hz, opened.channels, opened.layout, split=split)
    stream = (
        soxr.ResampleStream(opened.rate_hz, SAMPLE_RATE_HZ, width, dtype="float32")
        if opened.rate_hz != SAMPLE_RATE_HZ
        else None
    )
    for block in opened.blocks:
        block = _clipped(block)
        if meter is not None:
            meter.push(block)
        kept = mixer.push(block)
        report.phase_cancelled = mixer.cancelled
        yield kept.T if stream is None else _clipped(stream.resample_chunk(kept)).T
    kept = mixer.finish()
    report.phase_cancelled = mixer.cancelled
    yield kept.T if stream is None else _clipped(stream.resample_chunk(kept, last=True)).T


def _clipped(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """In [-1, 1]: what is not finite is mended; floating-point files and the resampler's filter go beyond."""
    clipped = np.clip(samples, -1.0, 1.0)
    unknown = np.isnan(clipped)
    if unknown.any():
        clipped[unknown] = 0.0
    return clipped
