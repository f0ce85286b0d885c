"""What tasks did, added up."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from transforms.recognition.alike import Streak


@dataclass
class TaskReport:
    """What a task did, for progress and the table runs; `seconds` by stage."""

    recordings: int = 0
    failed: int = 0
    audio_ms: int = 0
    batches: int = 0
    batch_audio_s: float = 0.0
    padded_audio_s: float = 0.0
    second_tries: int = 0
    retries: int = 0
    busy_s: float = 0.0
    alike: Streak = field(default_factory=Streak)
    seconds: Counter[str] = field(default_factory=Counter)

    @property
    def audio_s_a_slot_s(self) -> float | None:
        """Seconds of audio that a slot does in a second, models loaded; None before the first task has ended."""
        return self.audio_ms / 1000 / self.busy_s if self.busy_s > 0 and self.audio_ms else None

    def figures(self) -> dict[str, Any]:
        """For the log."""
        counts = {name: getattr(self, name) for name in ("recordings", "failed", "batches", "second_tries")}
        seconds = {stage: round(stage_s, 3) for stage, stage_s in sorted(self.seconds.items())}
        return {**counts, "audio_s": self.audio_ms / 1000, "busy_s": round(self.busy_s, 3), "stage_seconds": seconds}

    def __add__(self, other: TaskReport) -> TaskReport:
        return TaskReport(**{name: value + getattr(other, name) for name, value in vars(self).items()})
