"""jobs.serve as a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx2
import openai
from websockets.sync.client import connect

from tests.kit.lake import ENGINE, ROOT, cut, set_options, write_clip
from tests.live.made import wait_until
from tests.live.test_stream import heard, of, pcm16, say


@contextmanager
def running(*settings: str, arguments: Sequence[str] = ()) -> Iterator[tuple[subprocess.Popen[str], str]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "jobs.serve", "--port", str(port), "--name", "whisper-1"]
    environment = {**os.environ, "PATH": "/nowhere", "JAVA_HOME": ""}  # where there is no Java
    process = subprocess.Popen(
        [*command, *arguments, *set_options(*ENGINE, *settings)],
        cwd=ROOT,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process, f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def is_ready(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/healthz").status_code == 200
    except httpx2.ConnectError:
        return False


def test_when_it_is_stopped_requests_at_work_are_done_first(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.wav", cut(20, 70))
    with running("engine.options.delay_s=2") as (process, url), ThreadPoolExecutor(1) as pool:
        wait_until(lambda: is_ready(url))
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
        answer = pool.submit(client.audio.transcriptions.create, file=clip, model="whisper-1")
        time.sleep(1)
        process.send_signal(signal.SIGTERM)
        assert len(answer.result().text.split()) > 100
        client.close()
        assert process.wait(20) == 0
        assert process.stderr is not None
        said = process.stderr.read()
        assert "stopping: what is at work is done first" in said
        assert "70.0 s of audio in" in said


def test_when_it_is_stopped_each_session_gets_its_last_utterance() -> None:
    with running("engine.options.delay_s=0.3") as (process, url), contextlib.ExitStack() as open_sockets:
        wait_until(lambda: is_ready(url))
        address = f"{url.replace('http', 'ws')}/v1/stream?silence_ms=5000"
        sockets = [open_sockets.enter_context(connect(address, max_size=None)) for _ in range(10)]
        for number, socket in enumerate(sockets):
            say(socket, pcm16(cut(20 + number, 4)))
            assert json.loads(socket.recv())["type"] == "started"
        time.sleep(1)
        process.send_signal(signal.SIGTERM)
        for socket in sockets:
            events = heard(socket)
            assert [len(of(kind, events)) for kind in ("final", "ended")] == [1, 1]
            assert socket.close_code == 1001
        assert process.wait(20) == 0


def test_an_engine_that_cannot_be_loaded_ends_it_with_a_sentence() -> None:
    with running("engine.name=tests.live.test_command:Unloadable") as (process, _):
        assert process.wait(60) == 5
        assert process.stderr is not None
        *_, last = process.stderr.read().splitlines()
        assert last == (
            "error: the engine 'tests.live.test_command:Unloadable' cannot be loaded; the reason stands above"
        )


class Unloadable:
    longest_s = languages = None

    @property
    def key(self) -> dict[str, str]:
        return {"model": "none"}

    def checked(self) -> Unloadable:
        return self

    def load(self) -> None:
        raise OSError("the device is not there")
