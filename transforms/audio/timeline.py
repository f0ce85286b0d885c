"""Where a frame lies on the file's time line, as a player has it: packets that were left out, jumps of the time stamps,
and sound that begins after the picture are silence of that length."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

_TOLERANCE_S = 0.04
"""Time stamps may be so far ahead of the samples, all in all, before silence stands in: containers round them, and
recorders' clocks are not steady. Below the 60 ms to which a word's time is to be right."""
_BACK_S = 0.5
"""Time stamps that fall back so far begin anew, as where recordings were joined."""
_MOST_S = 3600
"""A longer jump is a fault of the time stamps, and no silence."""


class TimeLine:
    """Counts the samples of one stream at `rate_hz` against its time stamps. Places are integers in samples."""

    def __init__(self, rate_hz: int, tick_s: Fraction, origin_s: Fraction | None = None) -> None:
        """`tick_s`: the unit of the time stamps. `origin_s`: the stamp at which the file starts, None for the first
        frame's."""
        self._rate_hz = rate_hz
        self._samples, self._ticks = (tick_s * rate_hz).as_integer_ratio()
        self._origin = None if origin_s is None else int(origin_s * rate_hz)
        self.heard = 0
        """Samples placed so far."""
        self._ends: int | None = None
        self.absurd_s: int | None = None
        """The first jump, in seconds, that was too far to be taken for silence."""

    def stamp(self, timed: Any) -> int | None:
        """The time stamp of a frame or packet, in samples."""
        pts = timed.pts
        return None if pts is None else pts * self._samples // self._ticks

    def place(self, stamp: int | None, samples: int, following: int | None) -> int:
        """The samples of silence before the next frame, which has `samples`. A jump is only believed as far as the
        stamp of the frame after it, `following`, bears it out (None: there is none)."""
        if stamp is None:
            jump = 0
        elif self._ends is None:
            jump, self._ends = 0, stamp
            self._origin = stamp - self.heard if self._origin is None else self._origin
        else:
            jump = _borne_out(stamp - self._ends, None if following is None else following - self._ends - samples)
        if self._ends is None or self._origin is None:
            self.heard += samples
            return 0
        begins = self._ends + jump
        ahead = begins - self._origin - self.heard
        if jump < -_BACK_S * self._rate_hz or ahead > _MOST_S * self._rate_hz:
            if ahead > 0:
                self.absurd_s = self.absurd_s or ahead // self._rate_hz
            self._origin += ahead
            ahead = 0
        silence = ahead if ahead > _TOLERANCE_S * self._rate_hz else 0
        self.heard += silence + samples
        self._ends = begins + samples
        return silence

    def counts(self, packet: Any, samples: int) -> bool:
        """True if it begins where the last one placed ends, and time stamps of packets of its length count its samples
        exactly: then any number of the like are placed by `follow`."""
        ticks = packet.duration or 0
        return self.stamp(packet) == self._ends and ticks * self._samples == samples * self._ticks

    def follow(self, packets: int, samples: int) -> None:
        """Places so many of so many samples each, one after the other."""
        assert self._ends is not None
        self.heard += packets * samples
        self._ends += packets * samples

    def ahead(self, stamp: int) -> int:
        """How far a stamp is beyond the samples placed so far."""
        return 0 if self._origin is None else stamp - self._origin - self.heard

    def restart(self) -> None:
        """What comes next has time stamps of its own, and follows at once."""
        self._ends = self._origin = None


def _borne_out(jump: int, later: int | None) -> int:
    if later is None:
        return jump
    return min(jump, later) if min(jump, later) > 0 else max(jump, later) if max(jump, later) < 0 else 0
