"""How much work is a task, and how much a wave: minutes of a slot's, and of all slots', by the speed that was
measured."""

from __future__ import annotations

from schemas.config import RunConfig

_FIRST_GUESS = 10.0
"""Times real time that a slot is taken to do before the first task has ended. Low, since the first wave is then short,
and its measure soon there."""


class Sizes:
    """`speed`, times real time of one slot, is to be told when it is known better."""

    def __init__(self, config: RunConfig) -> None:
        self._config, self.speed = config, _FIRST_GUESS

    def wave_ms(self, slots: int) -> int:
        """Audio in a wave of so many slots."""
        if self._config.wave_audio_hours is not None:
            return int(self._config.wave_audio_hours * 3.6e6)
        return int(self.speed * slots * self._config.wave_minutes * 60_000)

    @property
    def task_ms(self) -> int:
        """Audio in a task."""
        if self._config.task_audio_minutes is not None:
            return int(self._config.task_audio_minutes * 60_000)
        return int(self.speed * self._config.task_minutes * 60_000)
