"""Failures alike, one after another: no longer the recordings' fault but the store's or the machine's.

Twenty in a row, not a share of all: a manifest of which half must not be read is that manifest's own business, and does
not stop a run. Alike is what failed at the same stage, since a store that is down answers now with a timeout and now
not at all. Kinds that are plainly the recording's own never count, however many there are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from transforms.errors import MachineError, RecordingError

_OWN_STAGES = ("decode", "vad")
OWN_KINDS = ("missing", "empty", "folder", "language", "not_finite", "too_long")
"""Of the other stages, what is plainly the recording's own. A local file whose whole folder is missing ('no_folder') is
not: a disk that is not mounted looks like that."""


@dataclass(frozen=True)
class Streak:
    """The recordings that failed alike in a row, up to the last that ended: their stage, how many, and what the last
    one said. `unbroken` while nothing else has ended before them: such a streak goes on where an earlier one stopped.

    Streaks add up in order of time: those of a process's tasks in it, those of all tasks on the driver.
    """

    stage: str | None = None
    count: int = 0
    message: str = ""
    unbroken: bool = True

    def __add__(self, later: Streak) -> Streak:
        if not later.unbroken:
            return later
        if not later.count:
            return self
        if later.stage == self.stage:
            return replace(later, count=self.count + later.count, unbroken=self.unbroken)
        return replace(later, unbroken=self.unbroken and not self.count)

    def check(self, limit: int) -> None:
        """Raises MachineError at `limit` (config.run.alike_failures; 0 for none)."""
        if limit and self.count >= limit:
            where = "in the recognizer" if self.stage == "recognize" else f"at {self.stage}"
            raise MachineError(
                f"{self.count} recordings in a row failed {where}, which is hardly their own fault; the last one said: "
                f"{self.message}. Mend that and run again: what failed so is tried again. If these recordings really "
                "are all to fail, set run.alike_failures=0"
            )


def outcome(error: RecordingError | None) -> Streak:
    """One recording, as it ended."""
    if error is None or error.stage in _OWN_STAGES or error.kind in OWN_KINDS:
        return Streak(unbroken=False)
    return Streak(error.stage, 1, error.message)


_of_run: dict[str, Streak] = {}
"""What this process has met in the run that it works for: a task may hold too few recordings to show it."""


def in_process(run_id: str, ended: Streak) -> Streak:
    """The streak of this process with one more recording."""
    streak = _of_run.get(run_id, Streak()) + ended
    _of_run.clear()
    _of_run[run_id] = streak
    return streak


def alike_condition(stage: str, struct: str = "") -> str:
    """SQL that is true for failures as a streak at `stage` counts them; `struct` comes before their columns, as in
    'error.' for those in chunks."""
    kinds = ", ".join(f"'{kind}'" for kind in OWN_KINDS)
    return f"{struct}stage = '{stage}' AND {struct}kind NOT IN ({kinds})"
