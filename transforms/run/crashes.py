"""Recordings that kill the process which reads them: found by halving, so that each costs its own row only.

Knows neither Spark's session nor tables: what recognizes and what writes the row are handed in.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from transforms.errors import MachineError

Unit = TypeVar("Unit")

_WORKER_DIED = "Python worker exited unexpectedly"
"""What Spark says when a Python worker was killed or crashed in native code."""
_EXECUTOR_DIED = ("ExecutorLostFailure", "caused by one of the running tasks")
"""What it says when the whole executor went, as where its container's memory limit is met. The reason after it is each
cluster manager's own: 'Command exited with code 137', 'exited with exit code 137(SIGKILL, possible container OOM)',
'Container killed by YARN for exceeding physical memory limits', 'Remote RPC client disassociated'. Executors that were
taken away (preempted, decommissioned) 'exited unrelated to the running tasks', and Spark does not count those."""
_FEW = 3
_SHARE = 0.01


def is_crash(error: BaseException) -> bool:
    """True if Spark gave up since one task killed its process at every try."""
    text = str(error)
    return _WORKER_DIED in text or all(part in text for part in _EXECUTOR_DIED)


class Crashes:
    """Counts those of a run of so many recordings; may be used from several threads at once."""

    def __init__(self, recordings: int) -> None:
        self.count = 0
        self._recordings, self._most = recordings, max(_FEW, int(_SHARE * recordings))
        self._lock = threading.Lock()

    def add(self, error: BaseException) -> None:
        """Raises MachineError, from `error`, beyond three recordings and 1 % of the run."""
        with self._lock:
            self.count += 1
            if self.count > self._most:
                raise MachineError(
                    f"{self.count} of {self._recordings} recordings killed the process that read them, each at every "
                    "try: that is hardly their own fault. Give executors more memory (spark.executor.memoryOverhead, "
                    "spark.executor.pyspark.memory) or smaller batches (batching), and run again: "
                    "what was done is kept. "
                    f"The last time Spark said: {str(error).strip().splitlines()[0]}"
                ) from error


def isolate(
    units: Sequence[Unit],
    recognize: Callable[[Sequence[Unit]], None],
    quarantine: Callable[[Unit], None],
    crashes: Crashes,
) -> None:
    """Calls `recognize` on all `units`; where that is a crash, on each half of them and so on, until the unit that
    crashes is alone and goes to `quarantine`.

    Each unit is in exactly one call that ended well. Raises what else `recognize` raises, and what `crashes` does.
    """
    if not units:
        return
    try:
        recognize(units)
    except Exception as error:
        if not is_crash(error):
            raise
        if len(units) == 1:
            crashes.add(error)
    else:
        return
    if len(units) == 1:
        quarantine(units[0])
        return
    half = len(units) // 2
    isolate(units[:half], recognize, quarantine, crashes)
    isolate(units[half:], recognize, quarantine, crashes)
