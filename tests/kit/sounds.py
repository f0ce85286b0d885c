"""Audio files made on the fly, and where the clicks in decoded audio are."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

Samples = NDArray[np.float32]


def clicks(rate_hz: int, at_ms: Sequence[int], length_ms: int) -> Samples:
    """Mono silence with a pulse of half a millisecond at each time."""
    samples = np.zeros(rate_hz * length_ms // 1000, dtype=np.float32)
    for time_ms in at_ms:
        first = rate_hz * time_ms // 1000
        samples[first : first + max(1, rate_hz // 2000)] = 0.9
    return samples


def click_times_ms(samples: Samples, rate_hz: int = 16_000) -> list[float]:
    """Where the clicks are: the loudest point of each stretch that is over a quarter of the loudest."""
    loud = np.flatnonzero(np.abs(samples) > np.abs(samples).max() / 4)
    groups = np.split(loud, np.flatnonzero(np.diff(loud) > rate_hz // 100) + 1)
    return [float(group[np.argmax(np.abs(samples[group]))]) * 1000 / rate_hz for group in groups]


def tone(rate_hz: int, seconds: float, hertz: float = 440.0) -> Samples:
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(int(rate_hz * seconds)) / rate_hz)).astype(np.float32)


def noise(seconds: float, rate_hz: int = 16_000, seed: int = 0) -> Samples:
    return (0.1 * np.random.default_rng(seed).standard_normal(int(rate_hz * seconds))).astype(np.float32)


def written(samples: Samples, rate_hz: int, kind: str = "WAV", subtype: str | None = None) -> bytes:
    """As a file by libsndfile; (samples,) or (samples, channels). Vorbis in long pieces would crash it."""
    target = io.BytesIO()
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    with soundfile.SoundFile(target, "w", rate_hz, channels, format=kind, subtype=subtype) as file:
        for first in range(0, len(samples), rate_hz):
            file.write(samples[first : first + rate_hz])
    return target.getvalue()


def muxed(samples: Samples, rate_hz: int, container: str, codec: str, **options: str) -> bytes:
    """As a file by FFmpeg; (samples,) or (samples, channels)."""
    import av

    layout = "mono" if samples.ndim == 1 or samples.shape[1] == 1 else "stereo"
    planes = np.ascontiguousarray(samples.reshape(len(samples), -1).T)
    frame = av.AudioFrame.from_ndarray(planes, format="fltp", layout=layout)
    frame.sample_rate, frame.pts, frame.time_base = rate_hz, 0, Fraction(1, rate_hz)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "made"  # on disk, since 'faststart' reads what it has written
        with av.open(str(path), "w", format=container, options=options) as file:
            stream = file.add_stream(codec, rate=rate_hz, layout=layout)
            for packet in [*stream.encode(frame), *stream.encode(None)]:
                file.mux(packet)
        return path.read_bytes()


def silent_film(frames: int = 5) -> bytes:
    """A video that has no sound track."""
    import av

    target = io.BytesIO()
    with av.open(target, "w", format="mp4") as file:
        stream = file.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(frames):
            frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), dtype=np.uint8), format="rgb24")
            for packet in stream.encode(frame):
                file.mux(packet)
        for packet in stream.encode(None):
            file.mux(packet)
    return target.getvalue()
