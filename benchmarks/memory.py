"""Peak memory of the Python workers: one 10-hour MP3, and 10,000 clips of a second, with a fast deterministic engine.

    python -m benchmarks.memory            # both; makes the audio first, in a temporary folder

The engine is that of the tests, so that what is measured is the job: fetching, decoding, VAD, packing, batching, rows.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile

from benchmarks.common import machine
from tests.kit.lake import ENGINE, set_options

EXAMPLE = Path("examples/audio/long_talk.mp3")
HOURS = 10
CLIPS = 10_000
_RATE_HZ = 16_000


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.memory")
    parser.add_argument("--only", choices=["long", "many"])
    options = parser.parse_args()
    print(f"{machine()}\n\n| input | peak resident memory of a Python worker | wall time |\n|---|---|---|")
    for name, make in (("long", long_recording), ("many", many_clips)):
        if options.only not in (None, name):
            continue
        with tempfile.TemporaryDirectory() as folder:
            uris = make(Path(folder))
            peak_bytes, wall_s = run_job(Path(folder), uris)
        what = f"{HOURS}-hour MP3" if name == "long" else f"{CLIPS:,} clips of 1 s"
        print(f"| {what} | {peak_bytes / 2**20:,.0f} MiB | {wall_s:.0f} s |", flush=True)


def long_recording(folder: Path) -> list[Path]:
    """The example talk over and over, as one MP3."""
    talk, rate_hz = soundfile.read(EXAMPLE, dtype="float32")
    target = folder / "long.mp3"
    with soundfile.SoundFile(target, "w", rate_hz, 1, format="MP3") as file:
        for _ in range(round(HOURS * 3600 * rate_hz / len(talk))):
            file.write(talk)
    return [target]


def many_clips(folder: Path) -> list[Path]:
    """Seconds of the example talk, each another one."""
    import soxr

    talk, rate_hz = soundfile.read(EXAMPLE, dtype="float32")
    talk = soxr.resample(talk, rate_hz, _RATE_HZ)
    starts = np.linspace(0, len(talk) - _RATE_HZ, CLIPS).astype(int)
    targets = [folder / f"clip_{number:05}.wav" for number in range(CLIPS)]
    for target, start in zip(targets, starts, strict=True):
        soundfile.write(target, talk[start : start + _RATE_HZ], _RATE_HZ)
    return targets


def run_job(folder: Path, recordings: list[Path]) -> tuple[int, float]:
    """Peak resident bytes of any one Python worker of the job, and the job's seconds."""
    manifest = folder / "manifest.parquet"
    sizes = [path.stat().st_size for path in recordings]
    pq.write_table(pa.table({"uri": [str(path) for path in recordings], "size_bytes": sizes}), manifest)
    command = [sys.executable, "-m", "jobs.transcribe", "--manifest", str(manifest), "--tables", str(folder / "tables")]
    command += set_options(*ENGINE)
    started = time.monotonic()
    job = subprocess.Popen(command)
    peak_bytes = 0
    while job.poll() is None:
        peak_bytes = max([peak_bytes, *worker_peaks_bytes()])
        time.sleep(0.2)
    if job.returncode:
        sys.exit(f"the job failed with exit status {job.returncode}")
    return peak_bytes, time.monotonic() - started


def worker_peaks_bytes() -> list[int]:
    """The kernel's own high-water mark of each pyspark worker that lives now (Linux)."""
    peaks = []
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            if b"pyspark.daemon" in (status.parent / "cmdline").read_bytes():
                lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
                peaks.append(int(lines["VmHWM"].split()[0]) * 1024)
        except (FileNotFoundError, ProcessLookupError, KeyError):
            continue  # it ended while we looked
    return peaks


if __name__ == "__main__":
    main()
