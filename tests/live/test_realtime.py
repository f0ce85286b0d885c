"""OpenAI's Realtime API for transcription, with OpenAI's own client."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import av
import numpy as np
import openai
import pytest
from numpy.typing import NDArray

from schemas.config import SAMPLE_RATE_HZ
from tests.kit.lake import cut, engine_config
from tests.live.made import MODEL, Served, serving, wait_until
from tests.live.test_stream import of, pcm16, spoken

Samples = NDArray[np.float32]
_TRANSCRIPTION = "conversation.item.input_audio_transcription"
_PAUSE = np.zeros(2 * SAMPLE_RATE_HZ, np.float32)


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving(engine_config("serve.partial_s=0.2", "language=en")) as served:
        yield served


@contextmanager
def session(served: Served, **audio_input: Any) -> Iterator[Any]:
    with served.client.realtime.connect(extra_query={"intent": "transcription"}) as connection:
        assert connection.recv().type == "session.created"
        if audio_input:
            connection.session.update(session={"type": "transcription", "audio": {"input": audio_input}})
        yield connection


def say(connection: Any, data: bytes, pause_s: float = 0) -> None:
    for first in range(0, len(data), 9_600):
        connection.input_audio_buffer.append(audio=base64.b64encode(data[first : first + 9_600]).decode())
        threading.Event().wait(pause_s)


def at_24k(samples: Samples) -> bytes:
    places = np.arange(0, len(samples), 2 / 3)
    return pcm16(np.interp(places, np.arange(len(samples)), samples).astype(np.float32))


def until(connection: Any, kind: str, count: int = 1) -> list[Any]:
    events: list[Any] = []
    while sum(event.type == kind for event in events) < count:
        events.append(connection.recv())
        assert events[-1].type != "error", events[-1]
    return events


def test_turns_are_found_and_transcribed_as_they_end(served: Served) -> None:
    samples = np.concatenate([cut(21, 4), _PAUSE, cut(60, 5), _PAUSE])
    with session(served) as connection:
        say(connection, at_24k(samples), 0.02)  # it would be over before a reading of a part was told
        events = until(connection, f"{_TRANSCRIPTION}.completed", 2)
    kinds = [event.type for event in events]
    whole = [event for event in events if event.type.endswith("completed")]
    assert whole[0].item_id != whole[1].item_id
    assert [event.item_id for event in events if event.type.endswith("committed")] == [one.item_id for one in whole]
    for one in whole:
        mine = [event for event in events if getattr(event, "item_id", None) == one.item_id]
        order = [event.type for event in mine if not event.type.endswith("delta")]
        assert order == [
            "input_audio_buffer.speech_started",
            "input_audio_buffer.speech_stopped",
            "input_audio_buffer.committed",
            f"{_TRANSCRIPTION}.completed",
        ]
        deltas = "".join(event.delta for event in mine if event.type.endswith("delta"))
        assert deltas == one.transcript
        assert len(one.transcript.split()) > 5
    assert kinds.count(f"{_TRANSCRIPTION}.delta") > 2
    assert kinds.count("conversation.item.added") == 2
    started = [event.audio_start_ms for event in events if event.type.endswith("speech_started")]
    assert started[0] < 2_000 and 5_500 < started[1] < 8_000
    assert len({event.event_id for event in events}) == len(events)


def test_without_turn_detection_what_is_committed_is_one_item(served: Served) -> None:
    samples = np.concatenate([cut(21, 20), _PAUSE, cut(60, 20)])
    with session(served, turn_detection=None) as connection:
        say(connection, at_24k(samples))
        connection.input_audio_buffer.commit()
        say(connection, at_24k(cut(0, 5)))
        connection.input_audio_buffer.commit()
        events = until(connection, f"{_TRANSCRIPTION}.completed", 2)
    assert not [event for event in events if "speech_st" in event.type]
    first, second = (event.transcript.split() for event in events if event.type.endswith("completed"))
    assert len(first) > 70 > 20 > len(second) > 5


def test_settings_are_taken_and_shown_and_logprobs_given(served: Served) -> None:
    with served.client.realtime.connect(extra_query={"intent": "transcription"}) as connection:
        created = connection.recv()
        assert created.session.audio.input.transcription.model == MODEL
        settings = {"transcription": {"model": MODEL, "language": "de", "prompt": "Ann"}}
        turns = {"type": "server_vad", "threshold": 0.4, "silence_duration_ms": 300, "prefix_padding_ms": 200}
        session = {
            "type": "transcription",
            "audio": {"input": settings | {"turn_detection": turns}},
            "include": ["item.input_audio_transcription.logprobs"],
        }
        connection.session.update(session=session)  # type: ignore[arg-type]
        updated = connection.recv()
        assert updated.type == "session.updated"
        assert updated.session.audio.input.transcription.language == "de"
        assert updated.session.audio.input.format.rate == 24_000
        say(connection, at_24k(np.concatenate([cut(21, 4), _PAUSE])))
        completed = until(connection, f"{_TRANSCRIPTION}.completed")[-1]
        assert len(completed.logprobs) == len(completed.transcript.split())
        connection.session.update(session=session)  # type: ignore[arg-type]
        while (error := connection.recv()).type != "error":
            pass
        assert error.error.code == "too_late"


@pytest.mark.parametrize(("form", "codec"), [("audio/pcmu", "pcm_mulaw"), ("audio/pcma", "pcm_alaw")])
def test_telephones_are_heard(served: Served, form: str, codec: str) -> None:
    samples = cut(20, 8)
    resampler = av.AudioResampler("s16", "mono", 8_000)
    frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
    frame.sample_rate = SAMPLE_RATE_HZ
    coder = av.CodecContext.create(codec, "w")
    coder.sample_rate, coder.layout, coder.format = 8_000, "mono", "s16"  # type: ignore[attr-defined]
    frames = [*resampler.resample(frame), *resampler.resample(None)]
    data = b"".join(bytes(packet) for one in frames for packet in coder.encode(one))  # type: ignore[attr-defined]
    assert len(data) == pytest.approx(8 * 8_000, abs=100)
    with session(served, format={"type": form}, turn_detection=None) as connection:
        assert connection.recv().type == "session.updated"
        say(connection, data)
        connection.input_audio_buffer.commit()
        heard = until(connection, f"{_TRANSCRIPTION}.completed")[-1].transcript.split()
    usual = of("ended", spoken(served, pcm16(samples)))[0]["text"].split()
    assert abs(len(heard) - len(usual)) <= 2


def test_what_makes_no_sense_is_told_and_the_session_goes_on(served: Served) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"type": "response.create"}, "which transcribes only"),
        ({"type": "input_audio_buffer.append", "audio": "%%%"}, "audio is not in base64"),
        ({"type": "input_audio_buffer.append"}, "audio is not in base64"),
        ({"type": "input_audio_buffer.commit"}, "there is no audio to commit"),
        ({"type": "session.update", "session": {"type": "realtime"}}, "session.type is 'transcription' here"),
        *(
            ({"type": "session.update", "session": {"type": "transcription", "audio": {"input": part}}}, sentence)
            for part, sentence in (
                ({"format": {"type": "audio/mp3"}}, "format.type is one of audio/pcm, audio/pcmu, audio/pcma"),
                ({"format": {"type": "audio/pcm", "rate": 8_000}}, "format.rate is 24000"),
                ({"transcription": {"model": "other"}}, "there is no model 'other'"),
                ({"transcription": {"language": "Quatsch"}}, "which is no language"),
                ({"transcription": {"delay": "low"}}, "transcription.delay cannot be had here"),
                ({"turn_detection": {"type": "semantic_vad"}}, "turn_detection.type is server_vad"),
                ({"turn_detection": {"type": "server_vad", "threshold": 7}}, "threshold is between 0 and 1"),
                ({"noise_reduction": {"type": "near_field"}}, "there is no noise reduction here"),
                ({"colour": "red"}, "input.colour cannot be had here"),
            )
        ),
    ]
    with session(served) as connection:
        for number, (message, sentence) in enumerate(wrong):
            connection.send({**message, "event_id": f"mine_{number}"})
            told = connection.recv()
            assert (told.type, told.error.event_id) == ("error", f"mine_{number}")
            assert sentence in told.error.message
        connection.send_raw("no JSON")
        assert connection.recv().error.code == "invalid_message"
        say(connection, at_24k(np.concatenate([cut(21, 3), _PAUSE])))
        assert until(connection, f"{_TRANSCRIPTION}.completed")[-1].transcript
        connection.input_audio_buffer.clear()
        assert until(connection, "input_audio_buffer.cleared")
    wait_until(lambda: served.desk.service.orders == 0)


def test_what_was_cleared_is_not_transcribed(served: Served) -> None:
    with session(served, turn_detection=None) as connection:
        say(connection, at_24k(cut(21, 6)))
        connection.input_audio_buffer.clear()
        say(connection, at_24k(cut(60, 3)))
        connection.input_audio_buffer.commit()
        assert len(until(connection, f"{_TRANSCRIPTION}.completed")[-1].transcript.split()) < 9


def test_another_intent_is_refused(served: Served) -> None:
    with served.client.realtime.connect(extra_query={"intent": "talk"}, max_retries=0) as connection:
        error = connection.recv()
        assert (error.type, error.error.param) == ("error", "intent")
        assert isinstance(served.client, openai.OpenAI)
