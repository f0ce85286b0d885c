"""The live server's own share: the deterministic engine of the tests, which takes no time worth telling.

    python -m benchmarks.live_load --sessions 100 300
    python -m benchmarks.live_load --files 100

Each session speaks the example talk in pieces of 100 ms at the pace of the wall clock, from a client process beside the
server. Lag: from the moment at which a piece came to that at which the reading that ends with it was sent
(lakescribe_serve_partial_lag_seconds); the share that took 50 and 100 ms at most, and the bucket that has the 95th
percentile. Memory: of the server's process, what each session adds while all are open, beyond the sound of the
utterances that are being said. Files: all at once, each a request, beside the same files as one task of the job, with
Whisper tiny.en on one thread.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
from websockets.asyncio.client import connect

from benchmarks.common import DATA, bare_task, clips, machine
from benchmarks.live import Served
from schemas.config import SAMPLE_RATE_HZ, load_config
from tests.kit.lake import ENGINE, cut, set_options

_PIECE_S = 0.1
_LAG = "lakescribe_serve_partial_lag_seconds"
_TINY = ("engine.options.model=tiny.en", "language=en", "serve.max_requests=1000")


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.live_load")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--sessions", nargs="+", type=int, default=[])
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--files", type=int)
    options = parser.parse_args()
    print(f"{machine()}\n")
    if options.files:
        print_files(options.data, options.files)
        return
    print("| sessions | readings | within 50 ms | within 100 ms | p95 | memory a session |\n|---|---|---|---|---|---|")
    for count in options.sessions:
        settings = set_options(*ENGINE, "serve.max_requests=1000", "language=en", "serve.silence_ms=500")
        with Served(settings) as served:
            asyncio.run(all_at_once(served.url, 2, 3))  # without the clock
            before, idle_mib = lags(served.url), served.resident_mib()
            peak_mib = asyncio.run(all_at_once(served.url, count, options.seconds, served))
            print(row(count, before, lags(served.url), (peak_mib - idle_mib) / count), flush=True)


async def all_at_once(url: str, count: int, seconds: float, served: Served | None = None) -> float:
    """Returns the server's memory, in MiB, shortly before the sessions end."""
    speaking = [asyncio.ensure_future(speak(url, number / count, seconds)) for number in range(count)]
    await asyncio.sleep(seconds - 1)
    mib = served.resident_mib() if served else 0.0
    await asyncio.gather(*speaking)
    return mib


async def speak(url: str, phase: float, seconds: float) -> None:
    data = np.round(cut(20 + 37 * phase, seconds) * 32767).astype("<i2")
    piece = int(_PIECE_S * SAMPLE_RATE_HZ)
    async with connect(f"{url.replace('http', 'ws')}/v1/stream", max_size=None, open_timeout=60) as connection:
        began_at = time.monotonic() + phase * _PIECE_S

        async def listen() -> None:
            async for _ in connection:
                pass

        listening = asyncio.ensure_future(listen())
        for first in range(0, len(data), piece):
            due_s = (first + piece) / SAMPLE_RATE_HZ
            await asyncio.sleep(max(0.0, began_at + due_s - time.monotonic()))
            await connection.send(data[first : first + piece].tobytes())
        await connection.send(json.dumps({"type": "end"}))
        await listening


def lags(url: str) -> dict[float, float]:
    """Readings by the bound of their bucket, all below counted."""
    found = {}
    for line in httpx2.get(f"{url}/metrics").text.splitlines():
        if line.startswith(f"{_LAG}_bucket"):
            found[float(line.split('"')[1])] = float(line.split()[-1])
    return found


def row(count: int, before: dict[float, float], after: dict[float, float], mib: float) -> str:
    within = {bound: after[bound] - before[bound] for bound in after}
    total = within[float("inf")]
    shares = " | ".join(f"{within[bound] / total:.1%}" for bound in (0.05, 0.1))
    p95 = next(bound for bound, many in within.items() if many >= 0.95 * total)
    return f"| {count} | {total:,.0f} | {shares} | ≤ {1000 * p95:.0f} ms | {mib:.2f} MiB |"


def print_files(data: Path, count: int) -> None:
    paths = [clip.path for clip in clips(data, "librispeech_test_other", "timit_nltk_sample") if clip.duration_s < 8]
    paths = (paths * (1 + count // len(paths)))[:count]
    config = load_config("conf/local.yaml", list(_TINY))
    served_s, task_s = [], []
    with Served(["--config", "local", *set_options(*_TINY)]) as served:
        name = httpx2.get(f"{served.url}/v1/models").json()["data"][0]["id"]
        ask(served.url, name, paths[0])
        bare_task(paths[:1], config)
        for _ in range(3):
            began_at = time.monotonic()
            with ThreadPoolExecutor(count) as pool:
                list(pool.map(lambda path: ask(served.url, name, path), paths))
            served_s.append(time.monotonic() - began_at)
            began_at = time.monotonic()
            bare_task(paths, config)
            task_s.append(time.monotonic() - began_at)
    ours, bare = min(served_s), min(task_s)
    print(f"| {count} files at once | as one task of the job | |\n|---|---|---|")
    print(f"| {ours:.1f} s | {bare:.1f} s | {ours / bare - 1:+.1%} |")


def ask(url: str, name: str, path: Path) -> Any:
    files, form = {"file": path.read_bytes()}, {"model": name}
    answer = httpx2.post(f"{url}/v1/audio/transcriptions", data=form, files=files, timeout=600)
    return answer.raise_for_status()


if __name__ == "__main__":
    main()
