"""Which track is heard, and that no other file is."""

from __future__ import annotations

import io
import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.kit.sounds import muxed, tone, written
from tests.kit.works import decoded, heard, work
from transforms.audio.tracks import same_language
from transforms.errors import RecordingError


def _tracks(*tracks: tuple[int, dict[str, str], str]) -> bytes:
    """A tone of so many hertz each, with tags and disposition."""
    target = io.BytesIO()
    with av.open(target, "w", format="matroska") as file:
        streams: list[Any] = []
        for _, tags, disposition in tracks:
            stream = file.add_stream("aac", rate=16_000, layout="mono")
            stream.metadata.update(tags)
            stream.disposition = av.stream.Disposition[disposition] if disposition else av.stream.Disposition(0)
            streams.append(stream)
        for (hertz, _, _), stream in zip(tracks, streams, strict=True):
            frame = av.AudioFrame.from_ndarray(tone(16_000, 2, hertz)[None], format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 16_000, 0, Fraction(1, 16_000)
            file.mux([*stream.encode(frame), *stream.encode(None)])
    return target.getvalue()


def _hertz(content: bytes, **which: Any) -> tuple[int, int | None]:
    samples, report = decoded(content, **which)
    return int(np.argmax(np.abs(np.fft.rfft(samples[0, 8_000:24_000])))), report.audio_track


def test_the_track_of_the_language_else_the_default_and_commentary_last() -> None:
    content = _tracks(
        (300, {"language": "ger", "title": "Kommentar"}, "comment"),
        (400, {"language": "fre"}, ""),
        (500, {"language": "eng"}, "default"),
        (600, {"language": "eng", "title": "Audio Description"}, ""),
    )
    assert _hertz(content) == (500, 2)
    assert _hertz(content, language="en") == (500, 2)
    assert _hertz(content, language="de") == (300, 0)
    assert _hertz(content, language="fra") == (400, 1)
    assert _hertz(content, language="ja") == (500, 2)
    assert _hertz(content, language="en", audio_track=3) == (600, 3)
    titled = _tracks((300, {"title": "Director's commentary"}, ""), (400, {}, ""))
    assert _hertz(titled) == (400, 1)


def test_a_track_that_is_not_there_is_told() -> None:
    for content in (_tracks((300, {}, "")), written(tone(16_000, 1), 16_000)):
        with pytest.raises(RecordingError, match="has 1 audio track, counted from 0"):
            decoded(content, audio_track=1)


def test_a_language_that_was_only_detected_chooses_no_track() -> None:
    content = _tracks((300, {"language": "ger"}, ""), (400, {"language": "eng"}, "default"))
    for source, track in (("given", 0), ("detected", 1)):
        _, closing = heard(work(content, language="de", language_source=source))
        assert closing.audio_track == track


@pytest.mark.parametrize(("tag", "language"), [("ger", "de"), ("deu", "de"), ("chi", "zh"), ("en-US", "en")])
def test_codes_of_two_and_three_letters_are_one_language(tag: str, language: str) -> None:
    assert same_language(tag, language)
    assert not same_language(tag, "fr")


def test_codes_that_say_nothing_are_no_language() -> None:
    for tag in (None, "", "und", "no such tag"):
        assert not same_language(tag, tag)


def test_lists_never_open_another_file(tmp_path: Path) -> None:
    secret = tmp_path / "secret.wav"
    secret.write_bytes(written(tone(16_000, 2), 16_000))
    lists = {
        "ffconcat": f"ffconcat version 1.0\nfile {secret.name}\n",
        "concat": f"file '{secret.name}'\n",
        "m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{secret.name}\n#EXT-X-ENDLIST\n",
        "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
        "mpd": f'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><Period><AdaptationSet>'
        f"<Representation><BaseURL>{secret.name}</BaseURL></Representation></AdaptationSet></Period></MPD>",
    }
    for kind, text in lists.items():
        for suffix in ("mp3", "m3u8", "wav", kind, "txt"):
            path = tmp_path / f"list.{suffix}"
            path.write_text(text)
            for source in (path, text.encode()):
                with pytest.raises(RecordingError, match="not a readable audio or video file"):
                    decoded(source)


def test_a_movie_that_points_to_another_file_is_read_without_it(tmp_path: Path) -> None:
    """QuickTime's data references: sound that lies elsewhere."""
    secret = tmp_path / "secret.wav"
    secret.write_bytes(written(tone(16_000, 2, 300), 16_000))
    content = muxed(tone(16_000, 2, 500), 16_000, "mov", "pcm_s16le")
    at = content.index(b"dref") + 12
    own = content[at : at + int.from_bytes(content[at : at + 4], "big")]
    for target in (secret.name, str(secret)):
        other = struct.pack(">I4sI", 13 + len(target), b"url ", 0) + target.encode() + b"\0"
        movie = bytearray(content.replace(own, other))
        for name in (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"):
            size = content.index(name) - 4
            movie[size : size + 4] = struct.pack(
                ">I", int.from_bytes(content[size : size + 4], "big") + len(other) - len(own)
            )
        path = tmp_path / "film.mov"
        path.write_bytes(movie)
        for source in (path, bytes(movie)):
            try:
                samples, _ = decoded(source)
            except RecordingError:
                continue
            assert np.argmax(np.abs(np.fft.rfft(samples[0, :16_000]))) == 500


def test_a_name_with_a_colon_is_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("concat:a.mp3")
    path.write_bytes(written(tone(16_000, 2), 16_000, "MP3"))
    assert decoded(path)[0].shape[1] == pytest.approx(32_000, abs=2_000)


@pytest.mark.parametrize(("language", "track"), [(None, 1), ("en", 1), ("de", 0)])
def test_the_film_with_a_commentary(data: Path, language: str | None, track: int) -> None:
    source = None if language is None else "given"
    _, closing = heard(work(data / "odd_inputs" / "twotracks.mkv", language=language, language_source=source))
    assert (closing.audio_track, closing.flags) == (track, [])


def test_the_list_that_is_called_a_recording(data: Path) -> None:
    for recording in (data / "odd_inputs" / "ffconcat.mp3", (data / "odd_inputs" / "ffconcat.mp3").read_bytes()):
        _, closing = heard(work(recording))
        assert closing.error is not None
        assert (closing.error.stage, closing.error.kind) == ("decode", "corrupt")
