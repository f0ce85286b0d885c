"""Recordings of the kinds that are often heard wrong, through the whole job with Whisper: every word, at its time.

Each kind is made from the project's own speech, so that any clone shows it; files by others that were once heard wrong
stand beside it where they are there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyspark.sql import SparkSession

from schemas.config import load_config
from tests.audio.test_timeline import film, restamped
from tests.kit import delta_log
from tests.kit.lake import EXAMPLES, file_row, write_manifest
from tests.kit.sounds import muxed, noise, written
from tests.kit.works import decoded
from transforms.run.job import transcribe
from transforms.text.normalize import normalizer

_RATE_HZ = 16_000
_SPEECH_S = 7.75
_PAUSE_MS = 3_300
_TEXT = "You've kept bees on this roof for eleven years. What's changed? In the first winter we lost half of them."
_TOLERANCE_MS = 60


@dataclass(frozen=True)
class Odd:
    content: bytes
    shifts_ms: tuple[int, ...] = (0,)
    """How much later than in the plain recording the words stand, for each time that they are said,"""
    gap_ms: int = 0
    """and how much more those after the pause."""
    channels: str = "mix"
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Heard:
    recording: dict[str, Any]
    words: list[dict[str, Any]]
    """In the order of the text."""

    @property
    def tokens(self) -> list[str]:
        return list(normalizer("en").tokens(" ".join(word["word"] for word in self.words)))

    @property
    def starts_ms(self) -> np.ndarray:
        return np.array([word["start_ms"] for word in self.words])


def _kinds() -> dict[str, Odd]:
    """By file name."""
    (samples,), _ = decoded(EXAMPLES / "interview_clip.wav")
    speech = samples[: int(_SPEECH_S * _RATE_HZ)]
    minute, rest = np.zeros(60 * _RATE_HZ, np.float32), np.zeros_like(speech)
    hiss = 0.003 * noise(60 + _SPEECH_S)
    late = np.concatenate([minute, speech])
    at_48k = np.interp(np.arange(len(speech) * 3) / 3, np.arange(len(speech)), speech).astype(np.float32)
    faint = np.concatenate([rest, speech * np.float32(10 ** (-30 / 20))])
    crashed = bytearray(written(speech, _RATE_HZ))
    size_at = crashed.index(b"data") + 4
    crashed[4:8] = crashed[size_at : size_at + 4] = bytes(4)
    return {
        "plain.flac": Odd(written(speech, _RATE_HZ, "FLAC")),
        "after_zeros.flac": Odd(written(late, _RATE_HZ, "FLAC"), (60_000,)),
        "after_noise.flac": Odd(written(late + hiss, _RATE_HZ, "FLAC"), (60_000,)),
        "inverted.flac": Odd(written(np.stack([speech, -speech], 1), _RATE_HZ, "FLAC"), flags=("phase_cancelled",)),
        "quiet.wav": Odd(written(speech * np.float32(10 ** (-45 / 20)), _RATE_HZ, "WAV", "PCM_24")),
        "recorder_crashed.wav": Odd(bytes(crashed)),
        "gap.webm": Odd(
            restamped(muxed(at_48k, 48_000, "webm", "libopus"), "webm", lambda ms: ms + 5_000 * (ms >= _PAUSE_MS)),
            gap_ms=5_000,
        ),
        "begins_late.mp4": Odd(film(at_48k, 48_000, "mp4", "aac", 3_000), (3_000,)),
        "chained.opus": Odd(
            b"".join(muxed(half, 48_000, "ogg", "libopus") for half in np.split(at_48k, [48 * _PAUSE_MS]))
        ),
        "call.flac": Odd(
            written(np.stack([np.concatenate([speech, rest]), faint], 1), _RATE_HZ, "FLAC"),
            (0, round(_SPEECH_S * 1000)),
            channels="split",
        ),
    }


_KINDS = _kinds()


@pytest.fixture(scope="module")
def made(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Heard]:
    folder = tmp_path_factory.mktemp("made")
    rows = []
    for name, odd in _KINDS.items():
        (folder / name).write_bytes(odd.content)
        rows.append(file_row(folder / name, language="en", channels=odd.channels))
    return _transcribed(spark, folder, rows)


@pytest.fixture(scope="module")
def given(data: Path, spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Heard]:
    files = sorted(path for path in (data / "odd_inputs").iterdir() if path.suffix not in (".tsv", ".md", ""))
    assert len(files) >= 14
    return _transcribed(spark, tmp_path_factory.mktemp("given"), [file_row(path, language="en") for path in files])


def _transcribed(spark: SparkSession, folder: Path, rows: Sequence[dict[str, Any]]) -> dict[str, Heard]:
    manifest, tables = write_manifest(folder / "manifest.parquet", rows), folder / "tables"
    transcribe(spark, load_config("conf/local.yaml"), str(manifest), str(tables))
    words = sorted(delta_log.rows(tables, "words"), key=lambda word: word["word_index"])
    return {
        Path(recording["uri"]).name: Heard(recording, [w for w in words if w["audio_id"] == recording["audio_id"]])
        for recording in delta_log.rows(tables, "recordings")
    }


@pytest.mark.parametrize("name", _KINDS)
def test_every_word_is_heard_at_its_time(made: dict[str, Heard], name: str) -> None:
    odd, found, plain = _KINDS[name], made[name], made["plain.flac"]
    assert found.tokens == list(normalizer("en").tokens(_TEXT)) * len(odd.shifts_ms)
    assert found.recording["flags"] == list(odd.flags)
    after_pause = plain.starts_ms > _PAUSE_MS
    expected = np.concatenate([plain.starts_ms + shift + odd.gap_ms * after_pause for shift in odd.shifts_ms])
    assert np.abs(found.starts_ms - expected).max() <= _TOLERANCE_MS


_SENTENCE = "And so my fellow Americans ask not what your country can do for you ask what you can do for your country"
_BEGINNING = "And so my fellow Americans ask not"


@pytest.mark.parametrize(
    ("name", "text", "last_word_ms"),
    [
        ("z60_jfk.flac", _SENTENCE, 69_998),
        ("late.flac", "ask not", 60_740),
        ("antiphase.flac", _SENTENCE, 9_998),
        ("film_c.ac3", _SENTENCE, 9_998),
        ("w_data0.wav", _BEGINNING, 3_998),
        ("quiet50.wav", _BEGINNING, 3_998),
        ("gap5.webm", _SENTENCE, 14_998),
        ("dtx.webm", _SENTENCE, 9_998),
        ("offset3.mp4", _SENTENCE, 12_998),
        ("twotracks.mkv", _SENTENCE, 9_998),
        ("chained.opus", _SENTENCE, 9_998),
        ("vbr_nohead.mp3", _SENTENCE, 9_998),
    ],
)
def test_what_was_heard_wrong_once(given: dict[str, Heard], name: str, text: str, last_word_ms: int) -> None:
    found = given[name]
    assert found.tokens == list(normalizer("en").tokens(text))
    assert found.starts_ms[-1] == pytest.approx(last_word_ms, abs=100)
    assert "duration_mismatch" not in found.recording["flags"]


def test_a_list_that_is_called_a_recording_fails(given: dict[str, Heard]) -> None:
    assert (given["ffconcat.mp3"].recording["status"], given["ffconcat.mp3"].words) == ("failed", [])
