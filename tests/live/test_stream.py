"""Speech over a WebSocket, with a real client and the deterministic engine."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np
import openai
import pytest
from numpy.typing import NDArray
from websockets.exceptions import ConnectionClosed, ConnectionClosedError
from websockets.sync.client import ClientConnection, connect

from schemas.config import SAMPLE_RATE_HZ
from tests.e2e.test_company import chunks_of
from tests.kit.lake import cut, engine_config, write_clip
from tests.live.made import Served, serving, wait_until
from transforms.audio.front import Work
from transforms.live.exchange import live_config

Samples = NDArray[np.float32]
Event = dict[str, Any]


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving(engine_config("serve.partial_s=0.2", "language=en")) as served:
        yield served


@contextmanager
def session(served: Served, query: str = "") -> Iterator[ClientConnection]:
    with connect(f"{served.url.replace('http', 'ws')}/v1/stream?{query}", max_size=None) as socket:
        yield socket


def pcm16(samples: Samples) -> bytes:
    return np.round(samples * 32767).astype("<i2").tobytes()


def say(socket: ClientConnection, data: bytes, piece_bytes: int = 3_201) -> None:
    with contextlib.suppress(ConnectionClosed):  # by an error, which is heard of
        for first in range(0, len(data), piece_bytes):
            socket.send(data[first : first + piece_bytes])


def heard(socket: ClientConnection) -> list[Event]:
    """All that comes until the server closes."""
    events = []
    with contextlib.suppress(ConnectionClosedError):
        for message in socket:
            events.append(json.loads(message))
    return events


def end(socket: ClientConnection) -> list[Event]:
    with contextlib.suppress(ConnectionClosed):  # by an error, which is heard of
        socket.send(json.dumps({"type": "end"}))
    return heard(socket)


def spoken(served: Served, data: bytes, query: str = "", piece_bytes: int = 3_201) -> list[Event]:
    with session(served, query) as socket:
        say(socket, data, piece_bytes)
        return end(socket)


def of(kind: str, events: list[Event]) -> list[Event]:
    return [event for event in events if event["type"] == kind]


def test_what_was_said_is_in_the_end_what_the_job_makes_of_it(served: Served, tmp_path: Path) -> None:
    samples = np.concatenate([cut(20, 18), np.zeros(3 * SAMPLE_RATE_HZ, np.float32), cut(60, 9)])
    exact = np.round(samples * 32767).astype(np.int16).astype(np.float32) / 32768
    clip = write_clip(tmp_path / "said.wav", exact)
    work = Work("a", "", "", str(clip), None, "en", "given", None, "mix", 0, None, {})
    rows = chunks_of([work], live_config(engine_config("language=en"), 600))
    wanted = sorted((row for row in rows.values() if row["text"]), key=lambda row: row["start_ms"])
    events = spoken(served, pcm16(samples), "silence_ms=600")
    assert events[0]["type"] == "started"
    finals = of("final", events)
    assert len(finals) == len(wanted) > 2
    for number, (final, row) in enumerate(zip(finals, wanted, strict=True)):
        assert (final["utterance"], final["text"], final["language"]) == (number, row["text"], "en")
        assert (round(final["start"] * 1000), round(final["end"] * 1000)) == (row["start_ms"], row["end_ms"])
        found = [(word["word"], round(word["start"] * 1000), word["confidence"]) for word in final["words"]]
        assert found == [(word["word"], word["start_ms"], word["confidence"]) for word in row["words"]]
    assert events[-1]["type"] == "ended"
    assert events[-1]["text"].split() == " ".join(final["text"] for final in finals).split()
    assert events[-1]["duration"] == pytest.approx(30, abs=0.01)


def test_while_an_utterance_goes_on_its_words_are_told_and_what_stands_is_not_taken_back(served: Served) -> None:
    with session(served) as socket:
        for first in range(0, 12):
            say(socket, pcm16(cut(20 + first / 2, 0.5)))
            threading.Event().wait(0.1)
        events = end(socket)
    kinds = [event["type"] for event in events]
    assert kinds.index("speech_started") < kinds.index("partial") < kinds.index("final")
    partials = of("partial", events)
    assert len(partials) > 3
    for utterance in {partial["utterance"] for partial in partials}:
        stable = [partial["stable"] for partial in partials if partial["utterance"] == utterance]
        assert all(after.startswith(before) for before, after in zip(stable, stable[1:], strict=False))
        last = [kind for kind, event in zip(kinds, events, strict=True) if event.get("utterance") == utterance]
        assert last[-1] == "final" and last.count("final") == 1
    assert any(len(partial["stable"].split()) > 3 for partial in partials)


def test_a_commit_ends_the_utterance_where_it_is(served: Served) -> None:
    with session(served, "silence_ms=5000") as socket:
        say(socket, pcm16(cut(21, 3)))
        socket.send(json.dumps({"type": "commit"}))
        say(socket, pcm16(cut(24, 3)))
        events = end(socket)
    first, second = of("final", events)
    assert 2.5 < first["end"] <= 3.0 <= second["start"] + 0.1
    assert first["end"] <= second["start"]


def encoded(samples: Samples, path: Path, codec: str) -> bytes:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate = SAMPLE_RATE_HZ
        resampler = av.AudioResampler("s16" if codec == "flac" else "flt", "mono", 48_000)
        for one in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(one))
        container.mux(stream.encode(None))
    return path.read_bytes()


def test_sound_may_come_in_any_rate_and_container(served: Served, tmp_path: Path) -> None:
    samples = cut(20, 8)
    words = len(of("ended", spoken(served, pcm16(samples)))[0]["text"].split())
    at_24k = np.interp(np.arange(0, len(samples), 2 / 3), np.arange(len(samples)), samples).astype(np.float32)
    ways = {
        "format=f32": samples.astype("<f4").tobytes(),
        "rate=24000": pcm16(at_24k),
        "format=container": encoded(samples, tmp_path / "said.webm", "libopus"),
        "format=container&language=de": encoded(samples, tmp_path / "said.ogg", "libopus"),
        "format=container&silence_ms=600": encoded(samples, tmp_path / "said.flac", "flac"),
    }
    for query, data in ways.items():
        (ended,) = of("ended", spoken(served, data, query, piece_bytes=1_000))
        assert ended["duration"] == pytest.approx(8, abs=0.1), query
        assert abs(len(ended["text"].split()) - words) <= 2, query


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("colour=red", "there is no field colour"),
        ("model=other", "there is no model 'other' here, but deterministic"),
        ("language=Quatsch", "language is 'Quatsch', which is no language"),
        ("format=mp3", "format is 'mp3'; it is one of pcm16, f32, pcmu, pcma, container"),
        ("rate=fast", "rate is 'fast'; it is a whole number from 8000 to 192000"),
        ("channels=9", "channels is '9'; it is a whole number from 1 to 8"),
        ("channels=2&format=container", "those of a container are mixed"),
        ("silence_ms=1", "silence_ms is '1'; it is a whole number from 100 to 60000"),
    ],
)
def test_what_cannot_be_had_is_told_and_ends_it(served: Served, query: str, sentence: str) -> None:
    with session(served, query) as socket:
        (error,) = heard(socket)
    assert (error["type"], socket.close_code) == ("error", 1008)
    assert sentence in error["error"]["message"]


@pytest.mark.parametrize(
    ("query", "message", "sentence"),
    [
        ("", "no JSON", 'a text message is {"type": "commit"} or {"type": "end"}'),
        ("", '{"type": "sing"}', 'a text message is {"type": "commit"} or {"type": "end"}'),
        ("", "[1]", 'a text message is {"type": "commit"} or {"type": "end"}'),
        ("format=container", b"This is no recording. " * 500, "what was sent cannot be decoded"),
    ],
)
def test_a_message_that_makes_no_sense_ends_it_with_a_sentence(
    served: Served, query: str, message: str | bytes, sentence: str
) -> None:
    before = refusals(served)
    with session(served, query) as socket:
        socket.send(message)
        if isinstance(message, bytes):
            socket.send(json.dumps({"type": "end"}))
        events = heard(socket)
    assert events[-1]["type"] == "error" and sentence in events[-1]["error"]["message"]
    wait_until(lambda: served.desk.service.orders == 0)
    wait_until(lambda: refusals(served) == before + 1)


def refusals(served: Served) -> float:
    """What the operator sees of them."""
    page = served.desk.measures.page().decode()
    lines = [line for line in page.splitlines() if line.startswith("lakescribe_serve_refused_total")]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def test_an_empty_session_and_one_of_silence_end_well(served: Served) -> None:
    for data in (b"", pcm16(np.zeros(5 * SAMPLE_RATE_HZ, np.float32)), b"x"):
        events = spoken(served, data)
        assert [event["type"] for event in events] == ["started", "ended"]
        assert events[-1]["text"] == ""


def test_clients_that_vanish_or_never_read_leave_nothing_behind(served: Served) -> None:
    threads = threading.active_count()
    for query in ("", "format=container", ""):
        with session(served, query) as socket:
            say(socket, pcm16(cut(20, 20)))
            wait_until(lambda: served.desk.service.orders > 0)
            socket.socket.close()
    wait_until(lambda: served.desk.service.orders == 0)
    wait_until(lambda: threading.active_count() <= threads + 4)
    assert served.desk.service.waiting_s == 0


def test_many_sessions_at_once_get_their_own_words(served: Served) -> None:
    alone = {second: of("ended", spoken(served, pcm16(cut(second, 6))))[0]["text"] for second in (0, 35, 70)}
    found: dict[int, str] = {}

    def hold(second: int) -> None:
        found[second] = of("ended", spoken(served, pcm16(cut(second, 6))))[0]["text"]

    threads = [threading.Thread(target=hold, args=(second,)) for second in range(0, 100, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {second: found[second] for second in alone} == alone
    assert len(set(found.values())) == len(threads)


def test_silence_on_the_line_and_too_long_a_session_are_ended() -> None:
    with serving(engine_config("serve.idle_s=0.5", "serve.max_session_minutes=0.1")) as served:
        with session(served) as socket:
            *_, error = heard(socket)
        assert (error["type"], error["error"]["message"]) == ("error", "nothing has come for 0.5 s")
        with session(served) as socket:
            say(socket, pcm16(cut(0, 8)), 32_000)
            *_, error = heard(socket)
        assert (error["type"], error["error"]["message"]) == ("error", "a session has 0.1 minutes at most")


def test_an_engine_that_dies_is_told_and_others_find_it_loaded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transforms.live.service._LOADED_AGAIN_S", 0.2)
    with serving(engine_config(lose_once=tmp_path / "lost")) as served:
        events = spoken(served, pcm16(cut(20, 5)))
        assert events[-1]["type"] == "error" and "the server lost its engine" in events[-1]["error"]["message"]
        wait_until(lambda: served.desk.service.ready)
        assert of("ended", spoken(served, pcm16(cut(20, 5))))[0]["text"]
        assert isinstance(served.client, openai.OpenAI)


def test_each_channel_has_its_speaker_as_in_the_job(served: Served, tmp_path: Path) -> None:
    sides = [np.concatenate([cut(20, 6), np.zeros(8 * SAMPLE_RATE_HZ, np.float32)]), cut(60, 14)]
    sides[1] = np.concatenate([np.zeros(7 * SAMPLE_RATE_HZ, np.float32), sides[1][: 7 * SAMPLE_RATE_HZ]])
    both = np.stack(sides, axis=1)
    events = spoken(served, pcm16(both), "channels=2&silence_ms=600", 6_405)
    exact = np.round(both * 32767).astype(np.int16).astype(np.float32) / 32768
    clip = write_clip(tmp_path / "call.wav", *exact.T)
    work = Work("a", "", "", str(clip), None, "en", "given", None, "split", 0, None, {})
    wanted = [row for row in chunks_of([work], live_config(engine_config("language=en"), 600)).values() if row["text"]]
    finals = sorted(of("final", events), key=lambda final: (final["channel"], final["utterance"]))
    assert [(final["channel"], final["speaker"], final["text"]) for final in finals] == [
        (row["channel"], f"channel-{row['channel']}", row["text"])
        for row in sorted(wanted, key=lambda row: (row["channel"], row["start_ms"]))
    ]
    assert {final["channel"] for final in finals} == {0, 1}
    (ended,) = of("ended", events)
    assert ended["text"].split() == [
        word for final in sorted(finals, key=lambda final: final["start"]) for word in final["text"].split()
    ]
    assert ended["duration"] == pytest.approx(14, abs=0.01)
    assert all("channel" in event for event in events if event["type"] not in ("started", "ended"))
