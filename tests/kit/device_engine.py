"""The deterministic engine on a cluster: `engine.name: tests.kit.device_engine:DeviceSpec`. It logs where it runs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.kit.engine import Recognizer, Spec, append
from transforms.engines import Hypothesis, Utterance
from transforms.engines.gpu import gpu_address


@dataclass(frozen=True)
class DeviceSpec(Spec):
    """`device_log`: gets a line a batch, appended: the fields of `Batch`, separated by blanks."""

    device_log: str = ""

    def load(self) -> DeviceRecognizer:
        return DeviceRecognizer(self)


@dataclass(frozen=True)
class Batch:
    """`given`: the GPU of the task; `loaded_for`: that of the task in which the engine was loaded; `worker` and
    `executor`: ids of the processes of Python and Java."""

    given: str
    loaded_for: str
    worker: int
    executor: int


def read_batches(log: Path) -> list[Batch]:
    lines = log.read_text().splitlines() if log.exists() else []
    return [
        Batch(given, loaded_for, int(worker), int(executor))
        for given, loaded_for, worker, executor in map(str.split, lines)
    ]


class DeviceRecognizer(Recognizer):
    def __init__(self, spec: DeviceSpec) -> None:
        super().__init__(spec)
        self._log, self._loaded_for = spec.device_log, gpu_address()

    def recognize(self, utterances: Sequence[Utterance]) -> list[Hypothesis]:
        daemon = Path(f"/proc/{os.getppid()}/stat").read_text()
        executor = daemon.rpartition(")")[2].split()[1]
        append(self._log, f"{gpu_address()} {self._loaded_for} {os.getpid()} {executor}\n")
        return super().recognize(utterances)
