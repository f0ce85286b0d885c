"""The engine `qwen` beside the package's own `Qwen3ASRModel.transcribe()` and `Qwen3ForcedAligner.align()`, on a CPU.

    python -m benchmarks.against_qwen_asr --data ../shared/data

Same random checkpoint of 52 M parameters (benchmarks.random_qwen), same clips of mixed lengths, the same number of
tokens for each clip (4 for each second of it), one thread, one process, by turns. Times are CPU seconds, which on one
thread are those of a machine that does nothing else. Peak memory of 32 clips of 30 s is measured in processes of their
own.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from benchmarks.common import DATA, clips, machine
from benchmarks.random_qwen import make
from schemas.config import SAMPLE_RATE_HZ
from transforms.engines import AlignmentRequest, Samples, Utterance
from transforms.text.words import split_words

TOKENS_PER_S = 4
_PACKAGE_BATCH = 32
_BATCH_AUDIO_S = _PACKAGE_BATCH * 28.0
"""As much padded audio as the package's batch of the longest clips."""
_TEXT = "The dog sees the black cat and the red house near the river. Who opens the white window?"


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.against_qwen_asr")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--clips", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peak", choices=list(PEAKS), help=argparse.SUPPRESS)
    parser.add_argument("--checkpoints", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak:
        PEAKS[options.peak](options.checkpoints)
        # Not getrusage: its maximum begins with that of the process that started this one.
        (peak,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
        print(int(peak.split()[1]) // 1024)
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        make("mid", folder / "recognizer")
        make("aligner-mid", folder / "aligner")
        samples = mixed(options.data, options.clips)
        seconds = sum(len(clip) for clip in samples) / SAMPLE_RATE_HZ
        our, their = our_recognizer(folder), their_recognizer(folder)
        ours_s(our, samples[:1])
        theirs_s(*their, samples[:1])
        # By turns, since a machine is not as fast at one time as at another.
        rounds = [(ours_s(our, samples), theirs_s(*their, samples)) for _ in range(options.rounds)]
        ours, theirs = (sum(times) / options.rounds for times in zip(*rounds, strict=True))
        print(f"52 M parameters, random, one thread, {machine()}\n")
        print(f"| {len(samples)} clips, {seconds:.0f} s | Lakescribe | qwen-asr 0.0.6 | |\n|---|---|---|---|")
        speeds = f"{seconds / ours:.1f} | {seconds / theirs:.1f}"
        print(f"| recognition, seconds of speech in a CPU second | {speeds} | {theirs / ours:.2f} × as fast |")
        for what in ("recognizer", "aligner"):
            peaks = [peak_mib(f"{side}_{what}", folder) for side in ("our", "their")]
            shown = f"{peaks[0]} MiB | {peaks[1]} MiB | {peaks[1] / peaks[0]:.2f} × as much"
            print(f"| {what}, peak memory of 32 clips of 30 s | {shown} |")


def mixed(data: Path, count: int) -> list[Samples]:
    """LibriSpeech clips in random order, some joined or cut, so that they last 1 to 28 s as packed chunks do."""
    rng = random.Random(0)
    read = [soundfile.read(clip.path, dtype="float32")[0] for clip in clips(data, "librispeech_test_other")]
    stream = np.concatenate(read)
    lengths = [int(rng.triangular(1.0, 28.0, 6.0) * SAMPLE_RATE_HZ) for _ in range(count)]
    starts = [rng.randrange(len(stream) - length) for length in lengths]
    return [stream[start : start + length].copy() for start, length in zip(starts, lengths, strict=True)]


def tokens_of(samples: Samples) -> int:
    return max(4, TOKENS_PER_S * len(samples) // SAMPLE_RATE_HZ)


def our_recognizer(folder: Path, dtype: str = "float32", cuda_graphs: bool = False) -> Any:
    """The engine, made to write the wanted number of tokens: no end token counts, the limit ends each row."""
    from transforms.engines.qwen.recognizer import QwenSpec

    spec = QwenSpec(model=str(folder / "recognizer"), dtype=dtype, cuda_graphs=cuda_graphs)
    engine = spec.checked().load()
    engine._network.end_ids = set()
    engine._decode = lambda ids: "a" * len(ids)  # random tokens are not in the tokenizer, and no text is tried again
    engine._most = lambda utterance: tokens_of(utterance.samples)
    return engine


def ours_s(engine: Any, samples: list[Samples]) -> float:
    started = time.process_time()
    rest = sorted(samples, key=len)  # as transforms.recognition.batching does
    while rest:
        count = max(1, int(_BATCH_AUDIO_S * SAMPLE_RATE_HZ / len(rest[-1])))
        batch, rest = rest[-count:], rest[:-count]
        found = engine.recognize([Utterance(clip) for clip in batch])
        assert [h.token_count for h in found] == [tokens_of(clip) for clip in batch]
    return time.process_time() - started


def their_recognizer(
    folder: Path, dtype: str = "float32", batch: int = _PACKAGE_BATCH
) -> tuple[Any, Callable[[list[int]], None]]:
    """The package's model, on a GPU where there is one; the function sets how many tokens the clips of the next batches
    get."""
    import torch
    from qwen_asr import Qwen3ASRModel
    from transformers import LogitsProcessor, LogitsProcessorList

    torch.set_num_threads(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = Qwen3ASRModel.from_pretrained(
        str(folder / "recognizer"),
        dtype=getattr(torch, dtype),
        device_map=device,
        max_inference_batch_size=batch,
        max_new_tokens=512,
    )
    end = 0
    queue: list[int] = []

    class Ends(LogitsProcessor):  # type: ignore[misc]
        """Ends each row after its number of tokens, and none before."""

        def __init__(self, counts: list[int], prompt: int) -> None:
            self.counts, self.prompt = (
                torch.tensor(counts, device="cuda" if torch.cuda.is_available() else "cpu"),
                prompt,
            )

        def __call__(self, ids: Any, scores: Any) -> Any:
            ready = ids.shape[1] - self.prompt >= self.counts
            scores[:, end] = torch.where(ready, torch.inf, -torch.inf)
            return scores

    generate = model.model.generate

    def limited(**inputs: Any) -> Any:
        rows, prompt = inputs["input_ids"].shape
        counts = [queue.pop(0) for _ in range(rows)]
        processors = LogitsProcessorList([Ends(counts, prompt)])
        return generate(eos_token_id=end, pad_token_id=end, logits_processor=processors, **inputs)

    model.model.generate = limited
    return model, queue.extend


def theirs_s(model: Any, expect: Callable[[list[int]], None], samples: list[Samples]) -> float:
    expect([tokens_of(clip) for clip in samples])
    started = time.process_time()
    model.transcribe([(clip, SAMPLE_RATE_HZ) for clip in samples])
    return time.process_time() - started


def thirty_seconds() -> list[Samples]:
    rng = np.random.default_rng(0)
    return [(rng.standard_normal(30 * SAMPLE_RATE_HZ) / 10).astype(np.float32) for _ in range(32)]


def our_recognizer_peak(folder: Path) -> None:
    our_recognizer(folder).recognize([Utterance(clip) for clip in thirty_seconds()])


def their_recognizer_peak(folder: Path) -> None:
    model, expect = their_recognizer(folder)
    samples = thirty_seconds()
    expect([tokens_of(clip) for clip in samples])
    model.transcribe([(clip, SAMPLE_RATE_HZ) for clip in samples])


def our_aligner_peak(folder: Path) -> None:
    from transforms.engines.qwen import aligner

    aligner._PADDED_AUDIO_S = 32 * 30.0  # all at once, as the package does it
    spec = aligner.QwenAlignerSpec(model=str(folder / "aligner"), dtype="float32")
    words = tuple(split_words(_TEXT, "en"))
    spec.checked().load().align([AlignmentRequest(clip, _TEXT, words, "en") for clip in thirty_seconds()])


def their_aligner_peak(folder: Path) -> None:
    import torch
    from qwen_asr import Qwen3ForcedAligner

    torch.set_num_threads(1)
    model = Qwen3ForcedAligner.from_pretrained(str(folder / "aligner"), dtype=torch.float32)
    samples = thirty_seconds()
    model.align([(clip, SAMPLE_RATE_HZ) for clip in samples], [_TEXT] * len(samples), ["English"] * len(samples))


PEAKS = {
    "our_recognizer": our_recognizer_peak,
    "their_recognizer": their_recognizer_peak,
    "our_aligner": our_aligner_peak,
    "their_aligner": their_aligner_peak,
}


def peak_mib(which: str, folder: Path) -> int:
    """Peak resident memory of a process that loads the model and does the 32 clips, in MiB."""
    command = [sys.executable, "-m", "benchmarks.against_qwen_asr", "--peak", which, "--checkpoints", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{which}: {done.stderr[-2000:]}")
    return int(done.stdout.split()[-1])


if __name__ == "__main__":
    main()
