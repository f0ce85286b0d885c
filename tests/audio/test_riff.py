"""WAV files whose header does not say where the samples are."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.kit.sounds import noise, written
from tests.kit.works import decoded, heard, work

_SOUND = noise(3)
_PCM = (np.round(_SOUND * 32768)).astype("<i2").tobytes()
_FMT = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 16_000, 32_000, 2, 16)
_LIST = struct.pack("<4sI4s4sI4s", b"LIST", 16, b"INFO", b"ISFT", 4, b"abc\0")


def _data(claimed: int, samples: bytes = _PCM) -> bytes:
    return struct.pack("<4sI", b"data", claimed) + samples


def _riff(*chunks: bytes, name: bytes = b"RIFF", size: int | None = None) -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return struct.pack("<4sI", name, len(body) if size is None else size) + body


_DS64 = struct.pack("<4sIQQQI", b"ds64", 28, 0, 0, 0, 0)
_HALF = len(_PCM) // 2
_CASES: dict[str, bytes] = {
    "size 0": _riff(_FMT, _data(0), size=0),
    "size 0 after other chunks": _riff(_LIST, _FMT, _LIST, _data(0), size=0),
    "size not known": _riff(_FMT, _data(0xFFFF_FFFF), size=0xFFFF_FFFF),
    "size of a pipe": _riff(_FMT, _data(0x7FFF_F000)),
    "RF64 without sizes": _riff(_DS64, _FMT, _data(0xFFFF_FFFF), name=b"RF64", size=0xFFFF_FFFF),
    "RF64 without ds64": _riff(_FMT, _data(0xFFFF_FFFF), name=b"RF64", size=0xFFFF_FFFF),
    "BW64 with size 0": _riff(_DS64, _FMT, _data(0), name=b"BW64", size=0),
    "more samples than claimed": _riff(_FMT, _data(10_000), size=10_036),
    "fewer samples than claimed": _riff(_FMT, _data(200_000)),
    "odd chunk without padding": _riff(struct.pack("<4sI", b"bext", 7) + b"seven b", _FMT, _data(len(_PCM))),
    "two data chunks": _riff(_FMT, _data(_HALF, _PCM[:_HALF]), _LIST, _data(_HALF, _PCM[_HALF:])),
    "the second of size 0": _riff(_FMT, _data(_HALF, _PCM[:_HALF]), _data(0, _PCM[_HALF:])),
    "chunks behind": _riff(_FMT, _data(len(_PCM)), _LIST),
    "blanks behind": _riff(_FMT, _data(len(_PCM)), size=36 + len(_PCM)) + bytes(5000),
    "a tag behind": _riff(_FMT, _data(len(_PCM))) + b"TAG" + bytes(125),
    "size 0, and a broken-off sample": _riff(_FMT, _data(0, _PCM + b"\1")),
}


@pytest.mark.parametrize("case", _CASES)
@pytest.mark.parametrize("place", [lambda content, _: content, lambda content, folder: _on_disk(content, folder)])
def test_the_samples_that_are_there_are_read(
    case: str, place: Callable[[bytes, Path], bytes | Path], tmp_path: Path
) -> None:
    recording = place(_CASES[case], tmp_path)
    samples, report = decoded(recording)
    assert samples.shape[1] == len(_SOUND)
    assert np.abs(samples[0] - _SOUND).max() < 1e-4
    assert report.damage is None
    stretch, _ = decoded(recording, start_ms=2_000, block_s=0.3)
    assert np.array_equal(stretch, samples[:, 32_000:])


def _on_disk(content: bytes, folder: Path) -> Path:
    path = folder / "recording.wav"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(("case", "flags"), [("size 0", []), ("two data chunks", []), ("RF64 without sizes", [])])
def test_a_header_that_knows_no_length_claims_none(case: str, flags: list[str]) -> None:
    _, closing = heard(work(_CASES[case]))
    assert (closing.duration_ms, closing.flags) == (3000, flags)


def test_samples_of_24_bits_behind_a_header_without_their_size_are_read() -> None:
    content = bytearray(written(_SOUND, 16_000, subtype="PCM_24"))
    at = content.index(b"data") + 4
    content[at : at + 4] = bytes(4)
    samples, _ = decoded(bytes(content))
    assert np.abs(samples[0] - _SOUND).max() < 1e-6


def test_the_recorder_that_crashed(data: Path) -> None:
    _, closing = heard(work(data / "odd_inputs" / "w_data0.wav"))
    assert closing.duration_ms == pytest.approx(4_400, abs=20)
    assert closing.flags == []
