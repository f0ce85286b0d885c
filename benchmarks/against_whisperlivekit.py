"""How far behind the speech the live server is, beside WhisperLiveKit with the same model.

    python3.11 -m venv build/peer && build/peer/bin/pip install whisperlivekit==0.2.26 faster-whisper
    python -m benchmarks.against_whisperlivekit --peer build/peer/bin/whisperlivekit-server

Whisper tiny.en on two threads; the peer with faster-whisper and local agreement, which is the same rule for words that
stand. One session speaks clips of librispeech_test_other with pauses of 2 s, at the pace of the wall clock, by turns.
Of each word that both sides and the reference have: from its end (as the job times the whole sound) until it is shown,
and until it stands: in the peer's lines, in our stable text or final. Error rates of what stood in the end.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import soundfile

from benchmarks.common import DATA, clips, machine, normal, word_error_rate
from benchmarks.live import Served, Spoken, made, speak
from schemas.config import SAMPLE_RATE_HZ
from transforms.engines.model_files import model_folder

_MODEL = "tiny.en"


@dataclass
class Heard:
    """Of one session: when there were so many words, by count of words shown and of words that stand."""

    standing: list[str] = field(default_factory=list)
    shown_at_s: list[float] = field(default_factory=list)
    stood_at_s: list[float] = field(default_factory=list)

    def tell(self, at_s: float, standing: str, shown: str) -> None:
        self.standing = normal(standing).split()
        for words, times in ((len(self.standing), self.stood_at_s), (len(normal(shown).split()), self.shown_at_s)):
            times += [at_s] * (words - len(times))


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.against_whisperlivekit")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--peer", required=True, help="the program whisperlivekit-server")
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    speech = clips(options.data, "librispeech_test_other")
    sides = {"Lakescribe": (ours, by_us), "WhisperLiveKit 0.2.26": (lambda: theirs(options.peer), by_them)}
    lags: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in sides}
    texts: dict[str, list[str]] = {name: [] for name in sides}
    references = []
    with ours() as served:
        timed = [words_of(served.url, made(speech, options.clips, seed)) for seed in range(options.rounds)]
    for seed in range(options.rounds):
        references.append(made(speech, options.clips, seed).reference)
        for name, (serve, listen) in sides.items():
            with serve() as served:
                listen(served.url, made(speech, 1, 99))  # without the clock
                heard = listen(served.url, made(speech, options.clips, seed))
            texts[name].append(" ".join(heard.standing))
            for found, times in zip(lags[name], (heard.shown_at_s, heard.stood_at_s), strict=True):
                found += behind(timed[seed], heard.standing, times)
    print(f"Whisper {_MODEL}, {machine()}\n")
    print("| | " + " | ".join(sides) + " |\n|---|---|---|")
    for index, what in enumerate(("shown", "standing")):
        cells = [
            f"{np.median(lags[name][index]):.2f} s (p95 {np.quantile(lags[name][index], 0.95):.2f})" for name in sides
        ]
        print(f"| a word is {what} after its end | " + " | ".join(cells) + " |")
    print(
        "| word error rate | " + " | ".join(f"{word_error_rate(references, texts[name]):.1%}" for name in sides) + " |"
    )
    print("| words measured | " + " | ".join(str(len(lags[name][0])) for name in sides) + " |")


def ours() -> Served:
    settings = {"engine.options.model": _MODEL, "engine.options.cpu_threads": 2}
    return Served(
        ["--config", "local", *(part for pair in settings.items() for part in ("--set", f"{pair[0]}={pair[1]}"))]
    )


def theirs(program: str) -> Served:
    folder = str(model_folder(_MODEL))
    chosen = ["--backend", "faster-whisper", "--backend-policy", "localagreement", "--model_dir", folder]
    return Served([*chosen, "--lan", "en", "--pcm-input", "--warmup-file", ""], (program,), "health")


def by_us(url: str, spoken: Spoken) -> Heard:
    address = f"{url.replace('http', 'ws')}/v1/stream?language=en"
    asyncio.run(speak(address, json.dumps({"type": "end"}), spoken))
    heard, done = Heard(), ""
    for at_s, event in spoken.events:
        if event["type"] == "partial":
            heard.tell(at_s, f"{done} {event['stable']}", f"{done} {event['stable']}{event['tail']}")
        elif event["type"] == "final":
            done = f"{done} {event['text']}"
            heard.tell(at_s, done, done)
    return heard


def by_them(url: str, spoken: Spoken) -> Heard:
    asyncio.run(speak(f"{url.replace('http', 'ws')}/asr", b"", spoken))
    heard = Heard()
    for at_s, event in spoken.events:
        if "lines" in event:
            standing = " ".join(line["text"] for line in event["lines"] if line.get("text"))
            heard.tell(at_s, standing, f"{standing} {event['buffer_transcription']}")
    return heard


def words_of(url: str, spoken: Spoken) -> list[tuple[str, float]]:
    """(word, end in seconds) as the job reads the whole sound."""
    file = io.BytesIO()
    soundfile.write(file, spoken.samples, SAMPLE_RATE_HZ, format="WAV")
    form = {"model": _MODEL, "response_format": "verbose_json", "timestamp_granularities[]": "word"}
    answer = httpx2.post(f"{url}/v1/audio/transcriptions", data=form, files={"file": file.getvalue()}, timeout=600)
    words: list[dict[str, Any]] = answer.raise_for_status().json()["words"]
    return [(normal(word["word"]), word["end"]) for word in words if word["end"] is not None]


def behind(timed: list[tuple[str, float]], heard: list[str], times: list[float]) -> list[float]:
    matcher = SequenceMatcher(None, [word for word, _ in timed], heard, autojunk=False)
    return [
        times[block.b + offset] - timed[block.a + offset][1]
        for block in matcher.get_matching_blocks()
        for offset in range(block.size)
    ]


if __name__ == "__main__":
    main()
