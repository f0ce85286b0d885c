"""Who may ask and how much, and what an operator sees of it."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
import yaml
from websockets.sync.client import connect

import jobs.serve
from schemas.config import ConfigError
from tests.kit.lake import cut, engine_config, write_clip
from tests.live.made import MODEL, Served, serving, wait_until
from tests.live.test_stream import heard, pcm16, say
from transforms.live.keys import Keys, new_key

LIMITS: dict[str, dict[str, Any]] = {
    "captions": {},
    "one": {"max_at_once": 1},
    "small": {"max_upload_mib": 1},
    "daily": {"hours_a_day": 0.002},
}
KEYS = {name: new_key(name) for name in LIMITS}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "keys.yaml"
    path.write_text(yaml.safe_dump([row | LIMITS[name] for name, (_, row) in KEYS.items()]))
    return path


@pytest.fixture(scope="module")
def served(file: Path) -> Iterator[Served]:
    with serving(engine_config(f"serve.keys={file}", delay_s=0.3)) as served:
        yield served


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip") / "clip.wav", cut(20, 6))


def client(served: Served, name: str) -> openai.OpenAI:
    return served.client.with_options(api_key=KEYS[name][0])


def test_who_has_no_key_or_another_one_may_not_ask(served: Served, clip: Path) -> None:
    with pytest.raises(openai.AuthenticationError, match="the key is not known here"):
        served.client.audio.transcriptions.create(file=clip, model=MODEL)
    answer = httpx2.post(f"{served.url}/v1/audio/transcriptions", files={"file": b"x"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
    assert "a key is needed" in answer.json()["error"]["message"]
    with connect(f"{served.url.replace('http', 'ws')}/v1/stream") as socket:
        (error,) = heard(socket)
    assert error["error"]["code"] == "invalid_api_key"
    assert client(served, "captions").audio.transcriptions.create(file=clip, model=MODEL).text


def test_a_browser_gives_its_key_as_a_protocol(served: Served) -> None:
    for protocols in (["realtime", f"openai-insecure-api-key.{KEYS['captions'][0]}"],):
        url = f"{served.url.replace('http', 'ws')}/v1/realtime?intent=transcription"
        with connect(url, subprotocols=protocols) as socket:  # type: ignore[arg-type]
            assert socket.subprotocol == "realtime"
            assert json.loads(socket.recv())["type"] == "session.created"


def test_a_key_has_limits_of_its_own(served: Served, clip: Path, tmp_path: Path) -> None:
    one = client(served, "one")
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(one.audio.transcriptions.create, file=clip, model=MODEL)
        wait_until(lambda: served.desk.service.orders > 0)
        with pytest.raises(openai.RateLimitError, match="1 requests of this key are at work"):
            one.audio.transcriptions.create(file=clip, model=MODEL)
        assert first.result().text
    assert one.audio.transcriptions.create(file=clip, model=MODEL).text
    small = client(served, "small")
    large = write_clip(tmp_path / "large.wav", cut(0, 40))
    with pytest.raises(openai.APIStatusError) as raised:
        small.audio.transcriptions.create(file=large, model=MODEL)
    assert (raised.value.status_code, raised.value.code) == (413, "too_large")
    daily = client(served, "daily")
    assert daily.audio.transcriptions.create(file=clip, model=MODEL).text
    with connect(
        f"{served.url.replace('http', 'ws')}/v1/stream",
        additional_headers={"Authorization": f"Bearer {KEYS['daily'][0]}"},
    ) as socket:
        say(socket, pcm16(cut(20, 4)))
        socket.send(json.dumps({"type": "end"}))
        assert heard(socket)[-1]["type"] == "ended"
    with pytest.raises(openai.RateLimitError, match=r"has had its 0\.002 hours of audio today") as limited:
        daily.audio.transcriptions.create(file=clip, model=MODEL)
    assert 0 < int(limited.value.response.headers["retry-after"]) <= 86_401
    assert client(served, "captions").audio.transcriptions.create(file=clip, model=MODEL).text


def test_a_stream_counts_until_it_is_over(served: Served, clip: Path) -> None:
    one = client(served, "one")
    with one.audio.transcriptions.create(file=clip, model=MODEL, stream=True) as stream:
        with pytest.raises(openai.RateLimitError):
            one.audio.transcriptions.create(file=clip, model=MODEL)
        assert list(stream)[-1].type == "transcript.text.done"
    wait_until(lambda: served.desk.service.orders == 0)
    assert one.audio.transcriptions.create(file=clip, model=MODEL).text


def test_keys_that_are_taken_away_are_gone_at_once(tmp_path: Path, clip: Path) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text(yaml.safe_dump([KEYS["captions"][1]]))
    keys = Keys(path)
    with keys.asking({"authorization": f"Bearer {KEYS['captions'][0]}"}) as asking:
        assert asking.name == "captions"
    path.write_text("[]")
    os.utime(path, ns=(time.time_ns(), time.time_ns() + 1))
    with (
        pytest.raises(Exception, match="the key is not known here"),
        keys.asking({"authorization": f"Bearer {KEYS['captions'][0]}"}),
    ):
        pass


def test_while_the_file_of_keys_is_being_written_those_stand_that_were_read_last(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text(yaml.safe_dump([KEYS["captions"][1]]))
    keys = Keys(path)
    path.write_text("- {name: cap")
    os.utime(path, ns=(time.time_ns(), time.time_ns() + 1))
    with keys.asking({"authorization": f"Bearer {KEYS['captions'][0]}"}) as asking:
        assert asking.name == "captions"


@pytest.mark.parametrize("text", ["- name: x", "- {name: x, sha256: short}", "a: [", "- {name: x, colour: red}", "7"])
def test_a_file_of_keys_that_cannot_be_used_is_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=re.escape(f"serve.keys is {path}, which is no list of keys")):
        Keys(path)
    with pytest.raises(ConfigError, match="which is no list of keys"):
        Keys(tmp_path / "none.yaml")


def test_the_command_makes_a_key_and_its_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    jobs.serve.main(["--new-key", "Ann's: captions"])
    key, line = capsys.readouterr().out.splitlines()
    path = tmp_path / "keys.yaml"
    path.write_text(line)
    with Keys(path).asking({"authorization": f"Bearer {key}"}) as asking:
        assert asking.name == "Ann's: captions"


def test_metrics_tell_what_is_done_and_nothing_that_was_said(served: Served, clip: Path) -> None:
    text = client(served, "captions").audio.transcriptions.create(file=clip, model=MODEL).text
    page = httpx2.get(f"{served.url}/metrics").text
    figures = dict(line.rsplit(" ", 1) for line in page.splitlines() if not line.startswith("#"))
    assert figures["lakescribe_serve_ready"] == "1.0"
    assert float(figures['lakescribe_serve_audio_seconds_total{key="captions",kind="file"}']) >= 6
    assert float(figures['lakescribe_serve_audio_seconds_total{key="daily",kind="live"}']) == pytest.approx(4, abs=0.1)
    assert float(figures['lakescribe_serve_refused_total{code="invalid_api_key"}']) >= 3
    assert float(figures["lakescribe_serve_engine_audio_seconds_total"]) >= 10
    assert 0 < float(figures["lakescribe_serve_engine_busy_seconds_total"]) < 60
    assert float(figures["lakescribe_serve_final_lag_seconds_count"]) >= 1
    assert float(figures["lakescribe_serve_real_time_factor_count"]) >= 2
    assert figures["lakescribe_serve_sessions"] == figures["lakescribe_serve_requests"] == "0.0"
    assert not set(text.split()) & set(re.findall(r"\S+", page))
    assert not any(key in page for key, _ in KEYS.values())
