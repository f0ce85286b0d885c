"""How much of what the engine computes is padding, beside batches in the order of the manifest.

    python -m benchmarks.padding --data ../shared/data

Lengths are those of the 50 clips of librispeech_test_other, drawn again and varied by up to 10 % (seed 0), so that no
two are alike. A clip up to packing.max_chunk_s is one chunk. The limits are those of the configuration: padded seconds
in a batch, seconds held ready to choose from. A task is run.task_minutes of work: on a CPU core some 15 minutes of
audio, on a GPU many hours.
"""

from __future__ import annotations

import argparse
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import DATA, clips
from schemas.config import SAMPLE_RATE_HZ, BatchingConfig, load_config
from transforms.recognition.batching import Window, padded_s


@dataclass(frozen=True)
class Silent:
    """A clip that has nothing but its length."""

    samples: Any


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.padding")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--clips", type=int, default=20_000)
    options = parser.parse_args()
    rng = random.Random(0)
    lengths_s = [clip.duration_s for clip in clips(options.data, "librispeech_test_other")]
    drawn_s = [rng.choice(lengths_s) * rng.uniform(0.9, 1.1) for _ in range(options.clips)]
    # One block of memory for all: np.empty is not touched, so hours of audio cost nothing.
    block = np.empty(int(max(drawn_s) * SAMPLE_RATE_HZ) + 1, np.float32)
    items = [Silent(block[: round(seconds * SAMPLE_RATE_HZ)]) for seconds in drawn_s]
    real_s = sum(drawn_s)
    print(f"{options.clips:,} clips of {min(drawn_s):.1f} to {max(drawn_s):.1f} s, {real_s / 3600:.1f} h\n")
    print("| padding, of all that is computed | Lakescribe | in the order of the manifest | |\n|---|---|---|---|")
    for name, minutes in (("local", 15), ("local", 600), ("gpu", 600)):
        batching = load_config(name).batching
        ours, naive = (
            1 - real_s / sum(padded_s(batch) for task in tasks(items, minutes) for batch in side(task, batching))
            for side in (chosen, in_order)
        )
        what = f"--config {name}, tasks of {minutes} min of audio"
        print(f"| {what} | {100 * ours:.1f} % | {100 * naive:.1f} % | {naive / ours:.1f} × less |")


def tasks(items: list[Silent], minutes: float) -> list[list[Silent]]:
    """In the order of the manifest, each of about so much audio."""
    found: list[list[Silent]] = [[]]
    room_s = minutes * 60
    for item in items:
        if room_s <= 0:
            found.append([])
            room_s = minutes * 60
        found[-1].append(item)
        room_s -= len(item.samples) / SAMPLE_RATE_HZ
    return found


def chosen(task: list[Silent], batching: BatchingConfig) -> list[list[Silent]]:
    """As a task does it: a batch is taken when the window is full, and all that is left at the end."""
    window: Window[Silent] = Window(batching.max_padded_audio_s)
    batches = []
    for index, item in enumerate(task):
        window.add(index, item)
        if window.audio_s >= batching.lookahead_audio_s:
            batches.append([one for _, one in window.take()])
    while len(window):
        batches.append([one for _, one in window.take(last=True)])
    return batches


def in_order(task: list[Silent], batching: BatchingConfig) -> list[list[Silent]]:
    """Batches of as many clips as the limit holds, in the order they come."""
    batches: list[list[Silent]] = [[]]
    for item in task:
        if batches[-1] and padded_s([*batches[-1], item]) > batching.max_padded_audio_s:
            batches.append([])
        batches[-1].append(item)
    return batches


if __name__ == "__main__":
    main()
