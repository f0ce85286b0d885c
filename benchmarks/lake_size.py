"""What a wave costs in lakes of 0, 2,000 and 20,000 hours:  python -m benchmarks.lake_size

Invents the lakes, in the files that the job leaves, then runs the job itself with the deterministic engine of the tests
over new recordings, in a process a lake: two waves to grow warm, two waves, and ten more than that. A wave's figures
are the last run's less those of the run before, divided by ten. Then, in another process, a run over the same manifest
again, which has nothing to do: its seconds count from Spark's first answer.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.common import machine
from benchmarks.invented import Shape, make_lake
from benchmarks.spark_figures import HEADER, Figures, figures
from tests.kit.lake import engine_config, write_clips, write_manifest
from transforms.lake.session import session
from transforms.lake.tables import Tables
from transforms.run.job import transcribe

RECORDINGS_A_WAVE = 10
RECORDING_S = 5.0
WAVES = (2, 2, 12)
SETTINGS = (
    f"run.wave_audio_hours={RECORDINGS_A_WAVE * RECORDING_S / 3600}",
    "run.progress_s=1000",
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.lake_size")
    parser.add_argument("--hours", type=float, nargs="+", default=[0, 2_000, 20_000])
    parser.add_argument("--wave-hours", type=float, default=10, help="audio in a wave of the invented lake")
    options = parser.parse_args()
    print(f"{machine()}\n\n| hours | files | GiB | | {HEADER} |\n|{'---|' * 9}", flush=True)
    for hours in options.hours:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder) / "tables"
            in_own_process(_make, root, Shape(hours, options.wave_hours))
            files = list(root.glob("*/*.parquet"))
            size = f"{hours:,.0f} | {len(files):,} | {sum(path.stat().st_size for path in files) / 2**30:.2f}"
            for name, found in in_own_process(waves, root).items():
                print(f"| {size} | {name} | {found} |", flush=True)
            print(f"| {size} | nothing new | {in_own_process(nothing_new, root)} |", flush=True)


def in_own_process(call: Callable[..., Any], *arguments: Any) -> Any:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(call, *arguments).result()


def _make(root: Path, shape: Shape) -> None:
    make_lake(Tables(session(), str(root)), shape)


def waves(root: Path) -> dict[str, Figures]:
    """Of the first run, which is cold and loads the tables' logs, and of a wave."""
    spark = _started()
    clips = write_clips(root.parent / "audio", sum(WAVES) * RECORDINGS_A_WAVE, RECORDING_S)
    found = []
    for run, count in enumerate(WAVES):
        first = sum(WAVES[:run]) * RECORDINGS_A_WAVE
        manifest = write_manifest(_manifest(root, run), clips[first : first + count * RECORDINGS_A_WAVE])
        found.append(figures(spark, root, lambda: _transcribe(spark, root, manifest)))  # noqa: B023
    return {f"first run, {WAVES[0]} waves": found[0], "a wave": found[2].more_than(found[1], WAVES[2] - WAVES[1])}


def nothing_new(root: Path) -> Figures:
    spark = _started()
    return figures(spark, root, lambda: _transcribe(spark, root, _manifest(root, len(WAVES) - 1)))


def _started() -> Any:
    spark = session()
    spark.range(1).count()
    return spark


def _manifest(root: Path, run: int) -> Path:
    return root.parent / f"manifest_{run}.parquet"


def _transcribe(spark: Any, root: Path, manifest: Path) -> None:
    transcribe(spark, engine_config(*SETTINGS), str(manifest), str(root))


if __name__ == "__main__":
    main()
