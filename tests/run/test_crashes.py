"""What kills its process is found by halving, whatever Spark calls it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.errors import MachineError
from transforms.run.crashes import Crashes, is_crash, isolate

_ABORTED = (
    "Job aborted due to stage failure: Task 3 in stage 9.0 failed 4 times, most recent failure: Lost task 3.3 in "
)
_LOST = _ABORTED + "stage 9.0 (TID 77) (10.0.0.7 executor 5): ExecutorLostFailure (executor 5 exited "
_BY_TASK = _LOST + "caused by one of the running tasks) Reason: "
_CRASHES = [
    _ABORTED + "stage 9.0 (TID 77) (10.0.0.7 executor 5): org.apache.spark.SparkException: Python worker exited "
    "unexpectedly (crashed): Fatal Python error: Segmentation fault",
    _BY_TASK + "Command exited with code 137",
    _BY_TASK + "Container killed by YARN for exceeding physical memory limits. 5.6 GB of 5.5 GB physical memory used.",
    _BY_TASK + "Container from a bad node: container_1 on host: h. Exit status: 137. Diagnostics: Killed",
    _BY_TASK + "\nThe executor with id 5 exited with exit code 137(SIGKILL, possible container OOM).",
    _BY_TASK + "Remote RPC client disassociated. Likely due to containers exceeding thresholds, or network issues.",
]


@pytest.mark.parametrize("text", _CRASHES)
def test_a_crash_is_recognized_in_what_spark_says(text: str) -> None:
    assert is_crash(RuntimeError(text))


@pytest.mark.parametrize(
    "text",
    [
        _ABORTED + "stage 9.0: org.apache.spark.api.python.PythonException: transforms.errors.MachineError: disk full",
        _LOST + "unrelated to the running tasks) Reason: Container was preempted.",
        _ABORTED + "stage 9.0: org.apache.spark.SparkException: Python worker failed to connect back.",
        "Job 4 cancelled because SparkContext was shut down",
    ],
)
def test_other_failures_are_no_crash(text: str) -> None:
    assert not is_crash(RuntimeError(text))
    with pytest.raises(RuntimeError, match=r".") as raised:
        isolate([1, 2], _machine({1}, text).recognize, lambda _: None, Crashes(2))
    assert str(raised.value) == text


class _machine:
    """Recognizes units as Spark does: all of a call, or none when a `deadly` one is among them."""

    def __init__(self, deadly: set[int], text: str = _CRASHES[0]) -> None:
        self.deadly, self.text = deadly, text
        self.done: list[int] = []
        self.calls = 0

    def recognize(self, units: Sequence[int]) -> None:
        self.calls += 1
        if self.deadly.intersection(units):
            raise RuntimeError(self.text)
        self.done += units


@given(st.integers(0, 300), st.sets(st.integers(0, 299), max_size=3))
def test_each_unit_is_done_once_or_alone_in_quarantine(count: int, deadly: set[int]) -> None:
    deadly = {unit for unit in deadly if unit < count}
    machine, quarantined = _machine(deadly), []
    isolate(range(count), machine.recognize, quarantined.append, Crashes(count))
    assert sorted(machine.done) == sorted(set(range(count)) - deadly)
    assert sorted(quarantined) == sorted(deadly)
    assert machine.calls <= 1 + 2 * len(deadly) * math.ceil(math.log2(max(2, count)))


@pytest.mark.parametrize(("recordings", "most"), [(1, 3), (399, 3), (1000, 10)])
def test_a_share_of_the_runs_recordings_may_crash_over_all_waves(recordings: int, most: int) -> None:
    crashes, quarantined = Crashes(recordings), []
    for wave in range(most):
        isolate([wave], _machine({wave}).recognize, quarantined.append, crashes)
    assert len(quarantined) == crashes.count == most
    with pytest.raises(MachineError, match=rf"^{most + 1} of {recordings} recordings killed .*Spark said: Job aborted"):
        isolate([most], _machine({most}).recognize, quarantined.append, crashes)
    assert len(quarantined) == most
