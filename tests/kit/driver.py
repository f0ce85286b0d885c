"""The job in a process of its own, as a driver that can be killed or stopped: for tests of what survives that."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from schemas.tables import ALL
from tests.kit import delta_log
from tests.kit.lake import ENGINE, QUICK_SUBMIT, ROOT, SHORT_PARTS, read_calls, set_options

_TIMEOUT_S = 600
TRANSCRIBE = ("jobs.transcribe", "--manifest")


class Driver:
    """`python -m jobs.transcribe` (or another `job`, which is given `source`) with the arguments `more`. What it says
    goes to a file beside `calls`, which gets the engine's log if the arguments name it."""

    def __init__(
        self, source: Path | str, root: Path, calls: Path, more: Sequence[str], job: Sequence[str] = TRANSCRIBE
    ) -> None:
        self.root, self.log, self._calls = root, calls.with_suffix(".stderr"), calls
        self.versions = {table.name: delta_log.version(root, table.name) for table in ALL}
        command = [sys.executable, "-m", *job, str(source), "--tables", str(root), *more]
        self._started = time.monotonic()
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env={**os.environ, **QUICK_SUBMIT}, stdout=log, stderr=log, start_new_session=True
            )

    @classmethod
    def of_tests(
        cls, source: Path | str, root: Path, calls: Path, *settings: str, job: Sequence[str] = TRANSCRIBE
    ) -> Driver:
        """With the deterministic engine, which logs to `calls`, and `settings` as for --set."""
        options = set_options(*ENGINE, SHORT_PARTS, f"engine.options.log_path={calls}", *settings)
        return cls(source, root, calls, options, job)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    def wait(self) -> int:
        """The exit status; minus the signal's number if it was killed."""
        return self.process.wait(_TIMEOUT_S)

    def calls(self) -> Counter[str]:
        """Digests of the texts that the engine has read so far."""
        return read_calls(self._calls)

    def said(self) -> str:
        return self.log.read_text(errors="replace")

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

    def all_processes(self) -> list[int]:
        return [pid for pids in self.processes().values() for pid in pids]

    def stop(self) -> None:
        """Everything stands still, as in a virtual machine that is suspended."""
        for _ in range(2):  # the first time, a process may just be starting another
            send(signal.SIGSTOP, self.all_processes())

    def go_on(self) -> None:
        send(signal.SIGCONT, self.all_processes())

    def kill(self) -> None:
        """All of it, as when the machine is lost."""
        send(signal.SIGKILL, self.all_processes())
        self.wait()


def send(what: signal.Signals, pids: Iterable[int]) -> None:
    for pid in pids:
        try:
            os.kill(pid, what)
        except ProcessLookupError:
            continue  # it has just ended


def outlived(pids: Iterable[int], patience_s: float = 30) -> list[int]:
    """Those of `pids` that still live after `patience_s`; they are killed then."""
    doomed, deadline = set(pids), time.monotonic() + patience_s
    while (alive := doomed & _process_table().keys()) and time.monotonic() < deadline:
        time.sleep(0.1)
    send(signal.SIGKILL, alive)
    return sorted(alive)


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
