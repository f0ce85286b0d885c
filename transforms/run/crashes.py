from __future__ import annotations

from collections.abc import Callable, Sequence

from py4j.protocol import Py4JError
from pyspark.errors import PySparkException

from transforms.run.units import Unit

_WORKER_DIED = "Python worker exited unexpectedly"
_MAX_CRASHED = 3


class Crashes:
    def __init__(self) -> None:
        self.count = 0

    def isolate(
        self, units: Sequence[Unit], recognize: Callable[[Sequence[Unit]], None], quarantine: Callable[[Unit], None]
    ) -> None:
        try:
            recognize(units)
        except (PySparkException, Py4JError) as error:
            if _WORKER_DIED not in str(error) or (len(units) == 1 and self.count >= _MAX_CRASHED):
                raise
            if len(units) == 1:
                self.count += 1
                quarantine(units[0])
                return
        else:
            return
        half = len(units) // 2
        self.isolate(units[:half], recognize, quarantine)
        self.isolate(units[half:], recognize, quarantine)
