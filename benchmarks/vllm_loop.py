"""The engine `vllm` as a task asks it, beside vLLM's own offline loop over the same clips and the same loaded model.

    .venv-vllm/bin/python -m benchmarks.vllm_loop --clips 64 --rounds 3        # after make setup-vllm and setup-dev

Random checkpoint of 52 M parameters (made in .venv), clips of mixed lengths, the same prompts and the same limits. The
loop is that of `LLM.generate`: all requests are added as (samples, rate), then steps until all are done; the task
makes hypotheses, too. CPU seconds, by turns.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.against_qwen_asr import mixed
from benchmarks.common import DATA, machine
from schemas.config import SAMPLE_RATE_HZ
from transforms.engines import Samples, Utterance, load_once
from transforms.engines.qwen import asking
from transforms.engines.vllm.recognizer import VllmSpec
from transforms.recognition.batching import Window
from transforms.recognition.dialogues import asked, hold
from transforms.recognition.second_try import recognizer_stream

TOKENS_PER_S = 4.0


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.vllm_loop")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--clips", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([".venv/bin/python", "-m", "benchmarks.random_qwen", "mid", folder], check=True)
        resident = load_once(VllmSpec(model=folder, tokens_per_s=TOKENS_PER_S).checked())
    # Random weights say nothing that could be read, and what says nothing is asked again: not here.
    asking.wider = lambda utterance, found: None  # type: ignore[assignment]
    utterances = [Utterance(samples) for samples in mixed(options.data, options.clips)]
    seconds = sum(len(utterance.samples) for utterance in utterances) / SAMPLE_RATE_HZ
    sides: dict[str, Callable[[], int]] = {
        "task": lambda: by_task(resident, utterances),
        "loop": lambda: resident.call(by_loop, resident.engine, utterances).result(),
    }
    tokens = {name: side() for name, side in sides.items()}  # once without the clock
    took: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(options.rounds):
        for name, side in sides.items():
            began_at = time.process_time()
            side()
            took[name].append(time.process_time() - began_at)
    ours, theirs = (float(np.mean(took[name])) for name in ("task", "loop"))
    print(f"52 M parameters, random, {machine()}; {tokens['task']} and {tokens['loop']} tokens\n")
    print(f"| {len(utterances)} clips, {seconds:.0f} s | the task's stream | vLLM's own loop | |\n|---|---|---|---|")
    speeds = f"{seconds / ours:.1f} | {seconds / theirs:.1f}"
    print(f"| seconds of speech in a CPU second | {speeds} | {theirs / ours:.2f} × as fast |")


def by_task(resident: Any, utterances: list[Utterance]) -> int:
    """The number of tokens that it generates."""

    bell = threading.Condition()
    stream = recognizer_stream(resident, Window(0), bell)
    return sum(found.token_count for found in hold([asked(stream, u) for u in utterances], [stream], bell))


def by_loop(recognizer: Any, utterances: list[Utterance]) -> int:
    from vllm import SamplingParams

    engine, tokenizer = recognizer._serving._engine, recognizer._serving.tokenizer
    for number, utterance in enumerate(utterances):
        ids, _ = asking.prompt(utterance, tokenizer, tokenizer.apply_chat_template, 0)
        most = asking.most_tokens(utterance, TOKENS_PER_S)
        params = SamplingParams(temperature=0.0, logprobs=0, max_tokens=most, detokenize=False)
        audio: tuple[Samples, int] = utterance.samples, SAMPLE_RATE_HZ
        engine.add_request(f"loop-{number}", {"prompt_token_ids": ids, "multi_modal_data": {"audio": audio}}, params)
    tokens = 0
    while engine.has_unfinished_requests():
        done = [output.outputs[0] for output in engine.step() if output.finished]
        tokens += sum(len(answer.token_ids) - (answer.finish_reason == "stop") for answer in done)
    return tokens


if __name__ == "__main__":
    main()
