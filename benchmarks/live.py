"""How far behind the speech the live server is, at the pace of the wall clock.

    python -m benchmarks.live --data ../shared/data --sessions 1 2 4 --set engine.options.model=tiny.en

Each session speaks some clips of librispeech_test_other with pauses of 2 s, in pieces of 40 ms. All times are from the
moment when a piece was sent that holds the word, or the beginning or end of speech, as the final has timed it:
first partial after the first word began, each word until it stands (in a partial's stable text, or in the final), the
final after the last word ended. Error rates of the finals, and of the same audio sent as a file.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import random
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import soundfile
from websockets.asyncio.client import connect

from benchmarks.common import DATA, Clip, clips, machine, word_error_rate
from schemas.config import SAMPLE_RATE_HZ

_PIECE_S = 0.04
_PAUSE_S = 2.0
_LAST = ("ended", "error", "ready_to_stop")
_OURS = (sys.executable, "-m", "jobs.serve")


@dataclass
class Spoken:
    """One session's sound, what is said in it, and what came of it: (seconds since it began, event)."""

    samples: Any
    reference: str
    events: list[tuple[float, dict[str, Any]]] = field(default_factory=list)

    @property
    def finals(self) -> list[tuple[float, dict[str, Any]]]:
        return [(at_s, event) for at_s, event in self.events if event["type"] == "final" and event["words"]]


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.live")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--sessions", nargs="+", type=int, default=[1, 2, 4])
    parser.add_argument("--clips", type=int, default=6, help="that each session speaks")
    parser.add_argument("--config", default="local")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()
    speech = clips(options.data, "librispeech_test_other")
    more = [part for pair in options.set for part in ("--set", pair)]
    print(f"{machine()}\n")
    print(
        "| sessions | first partial, s | a word until it stands | final after speech | "
        "word error rate | as a file | real-time factor |\n|---|---|---|---|---|---|---|"
    )
    with Served(["--config", options.config, *more]) as served:
        url = served.url
        spoken = [made(speech, options.clips, 0)]
        asyncio.run(all_at_once(url, spoken))  # without the clock
        for count in options.sessions:
            spoken = [made(speech, options.clips, seed) for seed in range(count)]
            asyncio.run(all_at_once(url, spoken))
            print(row(count, spoken, url), flush=True)


class Served:
    """jobs.serve in a process of its own, or what else `program` is."""

    def __init__(self, arguments: list[str], program: tuple[str, ...] = _OURS, health: str = "healthz") -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self._command = [*program, "--port", str(port), *arguments]
        self.url, self._health = f"http://127.0.0.1:{port}", health

    def __enter__(self) -> Served:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not self._is_ready():
            time.sleep(0.2)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()

    def resident_mib(self) -> float:
        lines = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))

    def _is_ready(self) -> bool:
        if self._process.poll() is not None:
            raise RuntimeError(f"it did not start; try it by hand: {self._command}")
        try:
            return httpx2.get(f"{self.url}/{self._health}").status_code == 200
        except httpx2.ConnectError:
            return False


def made(speech: list[Clip], count: int, seed: int) -> Spoken:
    chosen = random.Random(seed).sample(speech, count)
    pause = np.zeros(int(_PAUSE_S * SAMPLE_RATE_HZ), np.float32)
    parts = [pause]
    for clip in chosen:
        samples, rate_hz = soundfile.read(clip.path, dtype="float32")
        assert rate_hz == SAMPLE_RATE_HZ
        parts += [samples, pause]
    return Spoken(np.concatenate(parts), " ".join(clip.text for clip in chosen))


async def all_at_once(url: str, spoken: list[Spoken]) -> None:
    address, end = f"{url.replace('http', 'ws')}/v1/stream?language=en", json.dumps({"type": "end"})
    await asyncio.gather(*(speak(address, end, one) for one in spoken))


async def speak(address: str, end: str | bytes, spoken: Spoken) -> None:
    """At the pace of the wall clock; `end` is the message that says that no more comes. Until the last event came."""
    async with connect(address, max_size=None) as connection:
        began_at = time.monotonic()

        async def listen() -> None:
            async for message in connection:
                event = json.loads(message)
                spoken.events.append((time.monotonic() - began_at, event))
                if event.get("type") in _LAST:
                    return

        listening = asyncio.ensure_future(listen())
        data = np.round(spoken.samples * 32767).astype("<i2")
        piece = int(_PIECE_S * SAMPLE_RATE_HZ)
        for first in range(0, len(data), piece):
            due_s = (first + piece) / SAMPLE_RATE_HZ  # a microphone has a piece when its last sample was heard
            await asyncio.sleep(max(0.0, began_at + due_s - time.monotonic()))
            await connection.send(data[first : first + piece].tobytes())
        await connection.send(end)
        await listening


def row(count: int, spoken: list[Spoken], url: str) -> str:
    first, standing, after = [], [], []
    for one in spoken:
        for final_at_s, final in one.finals:
            partials = [
                (at_s, event)
                for at_s, event in one.events
                if event["type"] == "partial" and event["utterance"] == final["utterance"]
            ]
            timed = [word for word in final["words"] if word["end"] is not None]
            if not timed:
                continue
            first.append(min([final_at_s, *(at_s for at_s, _ in partials)]) - timed[0]["start"])
            after.append(final_at_s - timed[-1]["end"])
            for index, word in enumerate(final["words"]):
                if word["end"] is not None:
                    stood = (at_s for at_s, event in partials if len(event["stable"].split()) > index)
                    standing.append(min([final_at_s, *stood]) - word["end"])
    references = [one.reference for one in spoken]
    live = word_error_rate(references, [" ".join(final["text"] for _, final in one.finals) for one in spoken])
    audio_s = sum(len(one.samples) for one in spoken) / SAMPLE_RATE_HZ
    began_at = time.monotonic()
    files = word_error_rate(references, [as_file(url, one) for one in spoken])
    took_s = time.monotonic() - began_at
    figures = " | ".join(
        f"{np.median(values):.2f} (p95 {np.quantile(values, 0.95):.2f})" for values in (first, standing, after)
    )
    return f"| {count} | {figures} | {live:.1%} | {files:.1%} | {took_s / audio_s:.2f} |"


def as_file(url: str, spoken: Spoken) -> str:
    name = httpx2.get(f"{url}/v1/models").json()["data"][0]["id"]
    file = io.BytesIO()
    soundfile.write(file, spoken.samples, SAMPLE_RATE_HZ, format="WAV")
    address, form = f"{url}/v1/audio/transcriptions", {"model": name, "language": "en"}
    answer = httpx2.post(address, data=form, files={"file": file.getvalue()}, timeout=600)
    return str(answer.json()["text"])


if __name__ == "__main__":
    main()
