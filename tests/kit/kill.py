"""The job in processes of its own, and how to kill them at a random moment: shared by the kill test and the soak."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from schemas.config import SAMPLE_RATE_HZ
from schemas.tables import ALL
from tests.kit import delta_log
from tests.kit.engine import digest
from tests.kit.lake import (
    ENGINE,
    QUICK_SUBMIT,
    ROOT,
    cut,
    file_row,
    read_calls,
    write_clip,
    write_clips,
    write_manifest,
)

COMPARED = ("chunks", "recordings", "segments", "words", "failures")
SETTINGS = (
    *ENGINE,
    "engine.options.delay_s=0.2",
    "run.wave_audio_hours=0.03",
    "run.task_audio_minutes=0.4",
    "batching.max_padded_audio_s=12",
    "batching.lookahead_audio_s=24",
)
TARGETS = {
    "driver": "the Python driver alone: its JVM may live on for a moment",
    "java": "the JVM alone: the Python driver must end by itself",
    "all": "every process, as when the machine is lost",
    "worker": "a Python worker: Spark starts the task again",
    "daemon": "the process that forks the Python workers",
}
_WEIGHTS = {"driver": 4, "java": 1, "all": 3, "worker": 3, "daemon": 1}
_TIMEOUT_S = 600


def write_input(folder: Path) -> Path:
    """The manifest of a few dozen recordings: short ones, one in parts, one with a channel a speaker, a silent one, and
    broken ones."""
    audio = folder / "audio"
    rows = [file_row(path) for path in write_clips(audio, 30, 5.0)]
    rows.append(file_row(write_clip(audio / "long.wav", cut(20, 75, 0.9))))
    rows.append(file_row(write_clip(audio / "call.wav", cut(0, 9, 0.8), cut(60, 9, 0.8)), channels="split"))
    rows.append(file_row(write_clip(audio / "silence.wav", np.zeros(3 * SAMPLE_RATE_HZ, np.float32))))
    (audio / "text.mp3").write_text("This is no recording.")
    rows += [file_row(audio / "text.mp3"), {"uri": str(audio / "missing.wav")}]
    return write_manifest(folder / "manifest.parquet", rows)


class Job:
    """`python -m jobs.transcribe` in a process of its own; what it says goes to `log`. Without `arguments` it runs the
    deterministic engine, which logs its `calls`."""

    def __init__(self, manifest: Path, root: Path, calls: Path, arguments: Sequence[str] = ()) -> None:
        self.root, self.calls, self.log = root, calls, calls.with_suffix(".stderr")
        command = [sys.executable, "-m", "jobs.transcribe", "--manifest", str(manifest), "--tables", str(root)]
        usual = [part for setting in (*SETTINGS, f"engine.options.log_path={calls}") for part in ("--set", setting)]
        command += arguments or usual
        self.versions = {table.name: delta_log.version(root, table.name) for table in ALL}
        self.started = time.monotonic()
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env={**os.environ, **QUICK_SUBMIT}, stdout=log, stderr=log, start_new_session=True
            )

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    def wait(self) -> int:
        return self.process.wait(_TIMEOUT_S)

    def processes(self) -> dict[str, list[int]]:
        """Process ids by what the process is: driver, java, daemon, worker."""
        table = _process_table()
        found: dict[str, list[int]] = {"driver": [self.process.pid], "java": [], "daemon": [], "worker": []}
        frontier = [self.process.pid]
        while frontier:
            parent = frontier.pop()
            for child in (pid for pid, (ppid, _) in table.items() if ppid == parent):
                is_daemon = "pyspark.daemon" in table[child][1]
                kind = "java" if not is_daemon else "worker" if parent in found["daemon"] else "daemon"
                found[kind].append(child)
                frontier.append(child)
        return found


def _process_table() -> dict[int, tuple[int, str]]:
    """Parent and command line of each process."""
    table = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                stat = (folder / "stat").read_text().rpartition(")")[2].split()
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:  # it has just ended
                continue
            if stat[0] != "Z":
                table[int(folder.name)] = (int(stat[1]), command)
    return table


def kill(pids: Iterable[int]) -> None:
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def random_moment(rng: random.Random, job: Job, usual: Undisturbed) -> tuple[str, Callable[[], bool]]:
    """A moment of the run, spread over what it does rather than over its seconds, of which starting Spark takes
    most."""
    delay_s = rng.uniform(0, 0.6)
    kind = rng.choice(["calls", "calls", "commit", "commit", "commit", "seconds"])
    if kind == "calls":
        count = rng.randint(1, usual.calls)
        name, reached = f"call {count}", lambda: read_calls(job.calls).total() >= count
    elif kind == "commit":
        table = rng.choice(COMPARED)
        version = job.versions[table] + rng.randint(1, max(1, usual.commits[table] - 1))
        name, reached = f"{table} commit {version}", lambda: delta_log.version(job.root, table) >= version
    else:
        second = rng.uniform(0, usual.seconds)
        name, reached = f"{second:.1f} s", lambda: job.seconds >= second
    return f"{name} + {delay_s:.2f} s", lambda: reached() and time.sleep(delay_s) is None


@dataclass
class Undisturbed:
    """The run that all trials are compared with."""

    manifest: Path
    contents: dict[str, list[str]]
    commits: dict[str, int]
    calls: int
    seconds: float


def undisturbed(folder: Path) -> Undisturbed:
    manifest, root = write_input(folder), folder / "undisturbed"
    job = Job(manifest, root, folder / "undisturbed.calls")
    assert job.wait() == 0, job.log.read_text()
    calls = read_calls(job.calls)
    assert calls and max(calls.values()) == 1, "the undisturbed run recognized a chunk twice"
    commits = {table: delta_log.version(root, table) for table in COMPARED}
    return Undisturbed(manifest, _contents(root), commits, calls.total(), job.seconds)


def _contents(root: Path) -> dict[str, list[str]]:
    return {table: delta_log.contents(root, table) for table in COMPARED}


@dataclass
class Trial:
    seed: int
    kills: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def __str__(self) -> str:
        verdict = "the same" if not self.differences else "; ".join(self.differences)
        return f"seed {self.seed}: killed {', then '.join(self.kills) or 'nothing'}: {verdict} ({self.seconds:.0f} s)"


def run_trial(folder: Path, usual: Undisturbed, seed: int, most_kills: int = 2) -> Trial:
    """Kills the job once or more, starts it again until it ends by itself, and compares its tables with those of the
    undisturbed run."""
    rng, trial, started = random.Random(seed), Trial(seed), time.monotonic()
    root, left = folder / "tables", rng.randint(1, most_kills)
    folder.mkdir(parents=True)
    doomed: set[int] = set()
    for number in range(1 + most_kills):
        committed = _committed(root)
        job = Job(usual.manifest, root, folder / f"run_{number}.calls")
        in_place = 0
        while left and not job.ended:
            left -= 1
            target, moment = _kill_once(rng, job, usual, doomed)
            if target:
                trial.kills.append(f"{target} at {moment}")
                in_place += target in ("worker", "daemon")
        code = job.wait()
        trial.differences += _repeated(job, committed, in_place)
        if code == 0:
            break
    trial.differences += (
        [f"run {number} ended with {code}: {job.log.read_text()[-600:]}"] if code else _compare(root, usual)
    )
    trial.differences += _survivors(doomed)
    trial.seconds = time.monotonic() - started
    return trial


def _kill_once(rng: random.Random, job: Job, usual: Undisturbed, doomed: set[int]) -> tuple[str | None, str]:
    """Waits for the moment and kills; (None, …) if the job was done before. `doomed` collects what has to end soon."""
    target = rng.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
    name, reached = random_moment(rng, job, usual)
    victims: list[int] = []
    while not victims:
        if job.ended:
            return None, name
        if not reached():
            time.sleep(0.02)
            continue
        found = job.processes()
        everything = [pid for pids in found.values() for pid in pids]
        candidates = everything if target == "all" else found[target]
        victims = candidates if target == "all" or not candidates else [rng.choice(candidates)]
        time.sleep(0 if victims else 0.02)
    kill(victims)
    if target in ("driver", "java", "all"):
        doomed.update(everything)
        job.wait()
    return target, name


def _committed(root: Path) -> set[str]:
    if delta_log.version(root, "chunks") < 0:
        return set()
    return {digest(row["text"]) for row in delta_log.rows(root, "chunks") if row["text"]}


def _repeated(job: Job, committed: set[str], in_place: int) -> list[str]:
    """`in_place`: workers killed in this run; what they had read but not delivered is read again."""
    calls = read_calls(job.calls)
    found = [f"{count} committed chunks were recognized again" for count in [len(committed & calls.keys())] if count]
    if not in_place and calls and max(calls.values()) > 1:
        found.append("a chunk was recognized twice in one run")
    return found


def _compare(root: Path, usual: Undisturbed) -> list[str]:
    found = []
    for table, rows in _contents(root).items():
        missing, extra = Counter(usual.contents[table]) - Counter(rows), Counter(rows) - Counter(usual.contents[table])
        if missing or extra:
            example = next(iter([*extra, *missing]))[:300]
            found.append(f"{table} lacks {missing.total()} rows and has {extra.total()} too many, such as {example}")
    for table in ALL:
        keys = Counter(tuple(row[name] for name in table.key) for row in delta_log.rows(root, table.name))
        if doubled := [key for key, count in keys.items() if count > 1]:
            found.append(f"{table.name} has {len(doubled)} doubled keys, such as {doubled[0]}")
    return found


def _survivors(doomed: set[int]) -> list[str]:
    """What outlives its killed driver for long is a fault; it is ended here in any case."""
    deadline = time.monotonic() + 30
    while (alive := doomed & _process_table().keys()) and time.monotonic() < deadline:
        time.sleep(0.1)
    kill(alive)
    return [f"{len(alive)} processes lived on after their driver was killed"] if alive else []
