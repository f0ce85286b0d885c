"""How fast a GPU reads and times speech: the engines `qwen` and `vllm`, and the package qwen-asr, with random weights
of the released models' shapes, which compute exactly as much as trained ones.

    python -m benchmarks.gpu                            # 0.6B and 1.7B, each engine that is installed
    python -m benchmarks.gpu --sizes mid --batches 1 4 --clips 8 --clip-s 5          # a trial on a CPU

An engine whose packages are in another environment is named with its Python: --python vllm=.venv-vllm/bin/python. Each
engine and size runs in a process of its own. Clips are of 30 s, 4 tokens a second of each. Wall times, after a round
without the clock; memory is the device's that is in use then.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import against_qwen_asr
from schemas.config import SAMPLE_RATE_HZ, load_config
from transforms.engines import AlignmentRequest, Hypothesis, Utterance, load_once
from transforms.engines.qwen import asking
from transforms.engines.qwen.aligner import QwenAlignerSpec
from transforms.engines.resident import Resident
from transforms.engines.vllm.aligner import VllmAlignerSpec
from transforms.engines.vllm.recognizer import VllmSpec
from transforms.recognition.align import aligner_stream
from transforms.recognition.batching import Window
from transforms.recognition.dialogues import Dialogue, asked, hold
from transforms.recognition.second_try import recognizer_stream
from transforms.text.words import split_words

ENGINES = ("qwen", "qwen graphs", "qwen-asr", "vllm", "vllm fp8")
"""`qwen graphs`: with cuda_graphs."""
TOKENS_PER_S = 4
_WORDS = "The dog sees the black cat and the red house near the river. Who opens the white window? ".split()
_WORDS_PER_S = 2.5
_ALIGNED_AT_ONCE = 32


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.gpu")
    parser.add_argument("--sizes", nargs="+", default=["0.6B", "1.7B"])
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8, 32, 128, 256])
    parser.add_argument("--clips", type=int, default=512, help="that recognizer and aligner do together at the end")
    parser.add_argument("--clip-s", type=float, default=30.0)
    parser.add_argument("--python", action="append", default=[], metavar="ENGINE=PATH")
    parser.add_argument("--one", nargs=2, metavar=("ENGINE", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        for row in measured(options.one[0], Path(options.one[1]), options.batches, options.clips, options.clip_s):
            print(json.dumps(row), flush=True)
        return
    pythons = dict(pair.split("=", 1) for pair in options.python)
    more = ["--batches", *map(str, options.batches), "--clips", str(options.clips), "--clip-s", str(options.clip_s)]
    print(f"{machine()}, clips of {options.clip_s:g} s, {time.strftime('%Y-%m-%d')}\n")
    print("| size | engine | what | clips | times real time | GiB | first token, ms |\n|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        for size in options.sizes:
            make = [pythons.get("qwen", sys.executable), "-m", "benchmarks.random_qwen"]
            for name, kind in ((size, "recognizer"), (f"aligner-{size}", "aligner")):
                subprocess.run([*make, name, f"{scratch}/{size}/{kind}"], check=True, stdout=subprocess.DEVNULL)
            for engine in options.engines:
                python = pythons.get(engine.split()[0], sys.executable)
                command = [python, "-m", "benchmarks.gpu", "--one", engine, f"{scratch}/{size}", *more]
                show(size, engine, subprocess.run(command, capture_output=True, text=True, check=False))


def show(size: str, engine: str, done: subprocess.CompletedProcess[str]) -> None:
    """Prints what a process has measured, and how it failed if it did."""
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            row = json.loads(line)
            figures = f"{row['speed']:,.0f} | {row['gib']:.1f} | {row['first_ms'] or ''}"
            print(f"| {size} | {engine} {row['version']} | {row['what']} | {row['clips']} | {figures} |", flush=True)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
        print(f"| {size} | {engine} | failed: {reason[:200]} | | | | |", flush=True)


def measured(engine: str, folder: Path, batches: list[int], clips: int, clip_s: float) -> Iterator[dict[str, Any]]:
    """A row a batch size for the recognizer, one for the aligner, and one for both together."""
    sounds = [sound(number, clip_s) for number in range(max(batches))]

    def row(what: str, count: int, took_s: float, first_ms: int | None = None) -> dict[str, Any]:
        figures = {"speed": count * clip_s / took_s, "gib": used_gib(), "first_ms": first_ms}
        return {"what": what, "clips": count, **figures, "version": version(engine)}

    if engine == "qwen-asr":
        model, expect = against_qwen_asr.their_recognizer(folder, dtype(), max(batches))

        def transcribe(count: int) -> None:
            against_qwen_asr.theirs_s(model, expect, sounds[:count])

        for batch in batches:
            transcribe(batch)
            yield row("recognizer", batch, wall_s(lambda: transcribe(batch)))  # noqa: B023
        return
    recognizer, aligner = RECOGNIZERS[engine](folder), ALIGNERS[engine](folder)
    for batch in batches:
        utterances = [Utterance(samples, "en") for samples in sounds[:batch]]
        read(recognizer, utterances)
        took_s = wall_s(lambda: read(recognizer, utterances))  # noqa: B023
        first_ms = round(1000 * wall_s(lambda: read(recognizer, utterances, 1))) if batch == 1 else None  # noqa: B023
        yield row("recognizer", batch, took_s, first_ms)
    text = " ".join(np.resize(_WORDS, int(_WORDS_PER_S * clip_s)))
    words = tuple(split_words(text, "en"))
    requests = [AlignmentRequest(samples, text, words, "en") for samples in sounds[:_ALIGNED_AT_ONCE]]
    align(aligner, requests)
    yield row("aligner", len(requests), wall_s(lambda: align(aligner, requests)))
    many = [sound(number, clip_s) for number in range(clips)]
    yield row("both", clips, wall_s(lambda: together(recognizer, aligner, many, text, words)))


def sound(number: int, seconds: float) -> Any:
    """Noise, another one for each number: all computing is the same as for speech."""
    generator = np.random.default_rng(number)
    return (generator.standard_normal(int(seconds * SAMPLE_RATE_HZ)) / 10).astype(np.float32)


def qwen(folder: Path, cuda_graphs: bool = False) -> Resident:
    return Resident(lambda: against_qwen_asr.our_recognizer(folder, dtype(), cuda_graphs))


def qwen_aligner(folder: Path) -> Resident:
    return load_once(QwenAlignerSpec(model=str(folder / "aligner"), dtype=dtype()).checked())


def vllm(folder: Path, quantization: str | None = None) -> Resident:
    spec = VllmSpec(model=str(folder / "recognizer"), dtype=dtype(), quantization=quantization)
    resident = load_once(spec.checked())
    engine, params = resident.engine, resident.engine._params
    engine._params = lambda **values: params(**values, ignore_eos=True)
    engine._decode = lambda ids: "a" * len(ids)  # random tokens are not in the tokenizer, and no text is asked again
    return resident


def vllm_aligner(folder: Path) -> Resident:
    return load_once(VllmAlignerSpec(model=str(folder / "aligner"), dtype=dtype()).checked())


RECOGNIZERS: dict[str, Callable[[Path], Resident]] = {
    "qwen": qwen,
    "qwen graphs": lambda folder: qwen(folder, cuda_graphs=True),
    "vllm": vllm,
    "vllm fp8": lambda folder: vllm(folder, "fp8"),
}
ALIGNERS = {"qwen": qwen_aligner, "qwen graphs": qwen_aligner, "vllm": vllm_aligner, "vllm fp8": vllm_aligner}


def read(engine: Resident, utterances: list[Utterance], tokens: int | None = None) -> None:
    """All in one batch, so many tokens each, or as many as clips of their length get."""
    limit(tokens)
    bell = threading.Condition()
    stream = recognizer_stream(engine, Window(1e9), bell)
    check(hold([asked(stream, utterance) for utterance in utterances], [stream], bell))


def align(engine: Resident, requests: list[AlignmentRequest]) -> None:
    bell = threading.Condition()
    stream = aligner_stream("aligner", engine, Window(1e9), bell)
    check(hold([asked(stream, request) for request in requests], [stream], bell))


def together(
    recognizer: Resident, aligner: Resident, sounds: list[Any], text: str, words: tuple[tuple[int, int], ...]
) -> None:
    """As a task does it: each clip is timed while others are read, in batches of conf/gpu.yaml."""
    limit(None)
    most_s, bell = load_config("gpu").batching.max_padded_audio_s, threading.Condition()
    reads = recognizer_stream(recognizer, Window(most_s), bell)
    times = aligner_stream("aligner", aligner, Window(most_s), bell)

    def one(samples: Any) -> Dialogue[None]:
        check([(yield from asked(reads, Utterance(samples, "en")))])
        check([(yield from asked(times, AlignmentRequest(samples, text, words, "en")))])

    hold([one(samples) for samples in sounds], [reads, times], bell)


def check(answers: list[Any]) -> None:
    """An error would be quick, and no result."""
    assert all(isinstance(answer, Hypothesis | list) for answer in answers), answers


def limit(tokens: int | None) -> None:
    """Of both engines, for all that is asked from now on."""
    wanted = tokens_of if tokens is None else lambda samples: tokens
    asking.most_tokens = lambda utterance, _: wanted(utterance.samples)  # type: ignore[assignment]
    against_qwen_asr.tokens_of = wanted  # type: ignore[assignment]


def tokens_of(samples: Any) -> int:
    return max(4, TOKENS_PER_S * len(samples) // SAMPLE_RATE_HZ)


def wall_s(call: Callable[[], object]) -> float:
    began_at = time.perf_counter()
    call()
    return time.perf_counter() - began_at


def on_gpu() -> bool:
    import torch

    return bool(torch.cuda.is_available())


def dtype() -> str:
    return "bfloat16" if on_gpu() else "float32"


def used_gib() -> float:
    """Of the device's memory; without one, the most that this process had."""
    if on_gpu():
        import torch

        free, total = torch.cuda.mem_get_info()
        return (total - free) / 2**30
    (peak,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(peak.split()[1]) / 2**20


def version(engine: str) -> str:
    name = engine.split()[0]
    package = "qwen-asr" if name == "qwen" else name
    for one in (package, f"{package}-cpu"):
        try:
            return metadata.version(one)
        except metadata.PackageNotFoundError:
            continue
    return ""


def machine() -> str:
    try:
        import torch
    except ImportError:
        return platform.machine()
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{platform.machine()}, no GPU"
    return f"{name}, torch {torch.__version__}, CUDA {torch.version.cuda}"


if __name__ == "__main__":
    main()
