"""Connections that are opened, garbled and dropped in any way leave nothing behind, and others are served meanwhile."""

from __future__ import annotations

import contextlib
import gc
import json
import random
import threading
from collections.abc import Iterator

import pytest
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from tests.kit.lake import cut, engine_config
from tests.kit.objects import in_memory
from tests.live.made import Served, serving, wait_until
from tests.live.test_stream import of, pcm16, spoken
from transforms.live.session import Session

CONNECTIONS = 300
_WORDS = (
    "session.update input_audio_buffer.append input_audio_buffer.commit input_audio_buffer.clear commit end type "
    "transcription audio input format audio/pcm audio/pcmu turn_detection server_vad threshold model language null"
).split()


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving(engine_config("serve.partial_s=0.2", "language=en", "serve.max_requests=1000")) as served:
        yield served


def any_value(rng: random.Random, depth: int = 0) -> object:
    kinds = ["word", "number", "none", "text"] + (["list", "object", "object"] if depth < 4 else [])
    kind = rng.choice(kinds)
    if kind == "word":
        return rng.choice(_WORDS)
    if kind == "number":
        return rng.choice([0, -1, 10**30, 0.5, float("nan"), float("inf")])
    if kind == "text":
        return rng.choice(["", "\x00", "ü" * 2_000, "AAAA", "%%%"])
    if kind == "list":
        return [any_value(rng, depth + 1) for _ in range(rng.randint(0, 3))]
    if kind == "object":
        return {rng.choice(_WORDS): any_value(rng, depth + 1) for _ in range(rng.randint(0, 4))}
    return None


def any_message(rng: random.Random) -> str | bytes:
    kind = rng.choice(["bytes", "sound", "json", "message", "text"])
    if kind == "bytes":
        return rng.randbytes(rng.randint(0, 3_000))
    if kind == "sound":
        return pcm16(cut(rng.uniform(0, 100), rng.uniform(0, 3)))
    if kind == "json":
        return json.dumps(any_value(rng))
    if kind == "message":
        body = any_value(rng)
        return json.dumps({"type": rng.choice(_WORDS), **(body if isinstance(body, dict) else {"session": body})})
    return rng.choice(["", "{", "null", "[]", "\x00"])


def misuse(served: Served, seed: int) -> None:
    rng = random.Random(seed)
    path = rng.choice(["stream?", "stream?format=container", "stream?rate=48000", "realtime?intent=transcription"])
    address = f"{served.url.replace('http', 'ws')}/v1/{path}"
    ended = contextlib.suppress(WebSocketException, OSError, EOFError)
    with ended, connect(address, max_size=None, close_timeout=1) as socket:
        for _ in range(rng.randint(0, 8)):
            socket.send(any_message(rng))
            if rng.random() < 0.3:
                socket.recv(timeout=0.2)
        if rng.random() < 0.5:
            socket.socket.close()  # as a cable that is pulled


def test_garbled_connections_leak_nothing_and_disturb_nobody(served: Served) -> None:
    usual = of("ended", spoken(served, pcm16(cut(20, 6))))[0]["text"]
    for first in range(0, CONNECTIONS, 10):
        at_once = [threading.Thread(target=misuse, args=(served, seed)) for seed in range(first, first + 10)]
        for thread in at_once:
            thread.start()
        if first % 100 == 0:
            assert of("ended", spoken(served, pcm16(cut(20, 6))))[0]["text"] == usual
        for thread in at_once:
            thread.join()
    desk = served.desk
    wait_until(lambda: desk.service.orders == 0 and not desk.conversations)
    wait_until(lambda: not [one for one in threading.enumerate() if one.name.startswith(("container", "front"))])
    wait_until(lambda: gc.collect() >= 0 and not in_memory(Session))
    assert desk.service.waiting_s == 0 and desk.service.ready
    assert not list(desk.folder.iterdir())
    assert of("ended", spoken(served, pcm16(cut(20, 6))))[0]["text"] == usual
