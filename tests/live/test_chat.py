"""Chats with audio in them, by OpenAI's client."""

from __future__ import annotations

import base64
import http.server
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from tests.kit.lake import cut, engine_config, write_clip
from tests.live.made import MODEL, Served, serving


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("chat") / "clip.wav", cut(20, 6))


@pytest.fixture(scope="module")
def address(clip: Path) -> Iterator[str]:
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(clip.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def served(address: str) -> Iterator[Served]:
    with serving(engine_config("language=en", f"serve.addresses=[{address}]")) as served:
        yield served


def sent(clip: Path) -> str:
    return base64.b64encode(clip.read_bytes()).decode()


def ask(served: Served, part: dict[str, Any], **more: Any) -> str:
    messages: list[Any] = [{"role": "user", "content": [part]}]
    answer = served.client.chat.completions.create(model=MODEL, messages=messages, **more)
    assert answer.choices[0].finish_reason == "stop"
    return answer.choices[0].message.content or ""


def test_audio_is_taken_as_it_is_sent_and_from_addresses_that_are_allowed(
    served: Served, clip: Path, address: str
) -> None:
    text = served.client.audio.transcriptions.create(file=clip, model=MODEL).text
    parts: list[dict[str, Any]] = [
        {"type": "input_audio", "input_audio": {"data": sent(clip), "format": "wav"}},
        {"type": "audio_url", "audio_url": {"url": f"data:audio/wav;base64,{sent(clip)}"}},
        {"type": "audio_url", "audio_url": {"url": f"{address}clip.wav"}},
    ]
    for part in parts:
        assert ask(served, part) == f"language English<asr_text>{text}"
    german = ask(served, parts[0], extra_body={"language": "German"})
    assert german.startswith("language German<asr_text>") and text not in german


def test_a_streamed_answer_comes_in_pieces_and_is_the_same(served: Served, tmp_path: Path) -> None:
    long = write_clip(tmp_path / "long.wav", cut(20, 70))
    for clip, least in ((long, 3), (write_clip(tmp_path / "nothing.wav", cut(20, 1) * 0), 1)):
        part = {"type": "input_audio", "input_audio": {"data": sent(clip), "format": "wav"}}
        messages: list[Any] = [{"role": "user", "content": [part]}]
        chunks = list(served.client.chat.completions.create(model=MODEL, messages=messages, stream=True))
        pieces = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices[0].delta.content is not None]
        assert "".join(pieces) == ask(served, part)
        assert len(pieces) >= least
        assert [chunk.choices[0].finish_reason for chunk in chunks] == [None] * len(pieces) + ["stop"]
        assert [chunk.choices[0].delta.role for chunk in chunks] == ["assistant"] + [None] * len(pieces)
        assert len({chunk.id for chunk in chunks}) == 1


def test_qwens_own_package_takes_the_answer_apart(served: Served, clip: Path) -> None:
    utils = pytest.importorskip("qwen_asr.inference.utils", reason="needs the extra qwen: make setup-qwen")
    content = ask(served, {"type": "input_audio", "input_audio": {"data": sent(clip), "format": "wav"}})
    language, text = utils.parse_asr_output(content)
    assert language == "English"
    assert content.endswith(text)


@pytest.mark.parametrize(
    ("messages", "sentence"),
    [
        ([], "the messages have 0 audio parts"),
        ([{"role": "user", "content": "hello"}], "the messages have 0 audio parts"),
        (["hello"], "a message is of the system or the user"),
        ([{"role": "user", "content": [{"type": "image_url"}]}], "a part of type 'image_url' cannot be had"),
        ([{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "%"}}]}], "audio is in base64"),
        ([{"role": "user", "content": [{"type": "audio_url", "audio_url": {}}]}], "a part has a type"),
        *(
            ([{"role": "user", "content": [{"type": "audio_url", "audio_url": {"url": url}}]}], "are not fetched here")
            for url in (
                "/etc/passwd",
                "file:///etc/passwd",
                "http://127.0.0.1:1/x.wav",
                "http://127.0.0.1.evil.example/",
            )
        ),
    ],
)
def test_what_cannot_be_taken_is_told(served: Served, messages: list[Any], sentence: str) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        served.client.chat.completions.create(model=MODEL, messages=messages)
    assert sentence in raised.value.message


def test_other_fields_and_bodies_are_refused(served: Served, clip: Path) -> None:
    part = {"type": "input_audio", "input_audio": {"data": sent(clip), "format": "wav"}}
    with pytest.raises(openai.BadRequestError, match="cannot be had here"):
        ask(served, part, tools=[])
    answer = httpx2.post(f"{served.url}/v1/chat/completions", content=b"{")
    assert (answer.status_code, answer.json()["error"]["message"]) == (400, "the body is no JSON")
    assert not list(served.desk.folder.iterdir())
