"""What Spark and Delta add to an hour of audio: the whole job beside the same tasks in bare processes, one a core.

    python -m benchmarks.spark_share --data ../shared/data

Recordings of two and a half minutes of LibriSpeech, Whisper base. Both sides have done a recording before the clock
starts. The job's time is from plan to published tables; the processes' is until each has its rows, which it throws
away.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.against_faster_whisper import joined
from benchmarks.common import DATA, bare_task, machine, run_job
from schemas.config import Config, load_config
from transforms.lake.session import session

_RECORDING_S = 150.0


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.spark_share")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    config = load_config("conf/local.yaml", ["language=en"])
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number:03}.flac" for number in range(round(options.minutes * 60 / _RECORDING_S))]
        audio_s = sum(joined(options.data, _RECORDING_S, path, seed).duration_s for seed, path in enumerate(paths))
        spark = session()
        run_job(spark, paths[: os.cpu_count()], config)
        rounds = [(run_job(spark, paths, config)[1].wall_s, bare_s(paths, config)) for _ in range(options.rounds)]
    job, bare = (sum(side) / options.rounds for side in zip(*rounds, strict=True))
    print(f"Whisper base, {machine()}\n")
    print(f"| {len(paths)} recordings, {audio_s / 60:.0f} min | the job | bare processes | |\n|---|---|---|---|")
    print(f"| seconds | {job:.1f} | {bare:.1f} | {job / bare - 1:+.1%} |")


def bare_s(paths: list[Path], config: Config) -> float:
    """A process a core, each with its share of the recordings; the mean of their times, as if all had ended at once."""
    context, cores = multiprocessing.get_context("spawn"), os.cpu_count() or 1
    ready, took_s = context.Barrier(cores), context.SimpleQueue()
    shares = [paths[core::cores] for core in range(cores)]
    processes = [context.Process(target=work, args=(share, config, ready, took_s)) for share in shares]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        if process.exitcode:
            raise SystemExit(f"a process ended with {process.exitcode}")
    return sum(took_s.get() for _ in processes) / cores


def work(paths: list[Path], config: Config, ready: Any, took_s: Any) -> None:
    """Begins when all are ready, and tells the seconds that it took."""
    bare_task(paths[:1], config)
    ready.wait()
    began_at = time.monotonic()
    bare_task(paths, config)
    took_s.put(time.monotonic() - began_at)


if __name__ == "__main__":
    main()
