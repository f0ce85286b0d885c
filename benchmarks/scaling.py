"""Does the job grow with its work, its slots and its executors?  python -m benchmarks.scaling recordings|long|executors

recordings: ten times the recordings should take ten times as long, the start (a run with nothing to do) not counted.
long: one recording of ten hours on one slot and on four, with an engine that sleeps: how many times as fast, and
whether the rows are the same.
executors: short recordings on a standalone cluster of one worker with a feigned GPU, and on one of two, likewise.
The seconds of the last two are those of the table runs. The job's own work (decoding, VAD) needs cores: on fewer than
four let the engine be slow (--times-real-time).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import soundfile

from benchmarks.common import machine
from schemas.config import SAMPLE_RATE_HZ, Config
from tests.kit import delta_log
from tests.kit.cluster import GPU_ADDRESSES, running_cluster
from tests.kit.comparison import contents, differences
from tests.kit.lake import ENGINE, ROOT, cut, engine_config, set_options, talk, write_clip, write_manifest
from transforms.lake.session import session
from transforms.run.job import transcribe

FEW = 100
CLIP_S = 5.0
SLOTS = (1, 4)


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.scaling", description=__doc__)
    parser.add_argument("what", choices=["recordings", "long", "executors"])
    parser.add_argument("--hours", type=float, default=10, help="of audio, for long and executors")
    parser.add_argument("--times-real-time", type=float, default=16, help="how fast a slot's engine is then")
    options = parser.parse_args()
    print(machine(), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        if options.what == "recordings":
            recordings(Path(folder))
        elif options.what == "long":
            long(Path(folder), options.hours, options.times_real_time)
        else:
            executors(Path(folder), options.hours, options.times_real_time)


def recordings(folder: Path) -> None:
    spark = session()
    settings = (f"run.wave_audio_hours={FEW * CLIP_S / 2 / 3600}", "run.progress_s=1000")

    def took_s(name: str, manifest: Path) -> float:
        return seconds(lambda: transcribe(spark, engine_config(*settings), str(manifest), str(folder / f"{name}.lake")))

    few = short_recordings(folder / "few", 0, FEW, CLIP_S)
    many = short_recordings(folder / "many", FEW, 10 * FEW, CLIP_S)
    took_s("warm", few)
    took_s("warm", many)
    start_s, few_s, many_s = took_s("warm", many), took_s("few", few), took_s("many", many)
    print(f"nothing new {start_s:.1f} s, {FEW} recordings {few_s:.1f} s, {10 * FEW} recordings {many_s:.1f} s")
    print(f"10 × the recordings take {(many_s - start_s) / (few_s - start_s):.2f} × the time beyond the start")


def short_recordings(folder: Path, first: int, count: int, length_s: float) -> Path:
    """A manifest of `count` clips of the example talk, numbered from `first` on; no two numbers give the same."""
    clips = [
        write_clip(folder / f"{index}.wav", cut(index * 0.1037, length_s)) for index in range(first, first + count)
    ]
    return write_manifest(folder.with_suffix(".parquet"), clips)


def executors(folder: Path, hours: float, times_real_time: float) -> None:
    manifest = short_recordings(folder / "clips", 0, round(hours * 60), 60)
    delay_s = Config().batching.max_padded_audio_s / times_real_time
    took = {}
    for count in (1, 2):
        root, home = folder / f"executors_{count}", folder / f"cluster_{count}"
        home.mkdir()
        settings = set_options(*ENGINE, f"engine.options.delay_s={delay_s}")
        with (
            running_cluster(home, GPU_ADDRESSES[:count]) as cluster,
            cluster.submit("job", "--manifest", manifest, "--tables", root, *settings) as submitted,
        ):
            submitted.wait(3600)
        (run,) = delta_log.rows(root, "runs")
        took[count] = float(run["wall_seconds"])
    faults = differences(folder / "executors_2", contents(folder / "executors_1"))
    print(
        f"{hours:g} h: {took[1]:.0f} s on one executor, {took[2]:.0f} s on two: {took[1] / took[2]:.2f} times as fast"
    )
    print("the same rows" if not faults else "; ".join(faults))


def long(folder: Path, hours: float, times_real_time: float) -> None:
    manifest = write_manifest(folder / "manifest.parquet", [long_recording(folder / "long.wav", hours)])
    delay_s = Config().batching.max_padded_audio_s / times_real_time
    took = [submit(folder, manifest, slots, delay_s) for slots in SLOTS]
    faults = differences(folder / f"slots_{SLOTS[1]}", contents(folder / f"slots_{SLOTS[0]}"))
    print(f"{hours:g} h: {took[0]:.0f} s on one slot, {took[1]:.0f} s on four: {took[0] / took[1]:.2f} times as fast")
    print("the same rows" if not faults else "; ".join(faults))


def long_recording(target: Path, hours: float) -> Path:
    """The example talk over and over, each time a little softer, so that no two chunks are alike."""
    left, turn = int(hours * 3600 * SAMPLE_RATE_HZ), 0
    with soundfile.SoundFile(target, "w", SAMPLE_RATE_HZ, 1) as file:
        while left > 0:
            file.write(talk()[:left] * (1 - turn * 0.001))
            left, turn = left - len(talk()), turn + 1
    return target


def submit(folder: Path, manifest: Path, slots: int, delay_s: float) -> float:
    """Runs the job by spark-submit with so many slots; its seconds by the table runs."""
    root = folder / f"slots_{slots}"
    command = [str(Path(sys.executable).parent / "spark-submit"), "--master", f"local[{slots},4]"]
    command += ["--properties-file", "conf/spark-local.conf", "jobs/transcribe.py", "--manifest", str(manifest)]
    command += ["--tables", str(root), *set_options(*ENGINE, f"engine.options.delay_s={delay_s}")]
    environment = {**os.environ, "PYSPARK_PYTHON": sys.executable, "PYTHONPATH": str(ROOT)}
    subprocess.run(command, cwd=ROOT, env=environment, check=True)
    (run,) = delta_log.rows(root, "runs")
    return float(run["wall_seconds"])


def seconds(call: Callable[[], object]) -> float:
    began_at = time.perf_counter()
    call()
    return time.perf_counter() - began_at


if __name__ == "__main__":
    main()
