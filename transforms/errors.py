"""What can be wrong: with one recording, which becomes a row and never ends a task; with the machine, which does; and
with a whole manifest."""

from __future__ import annotations

from typing import Any


class RecordingError(Exception):
    """One recording (or chunk) cannot be done.

    `stage` is fetch, decode, vad, recognize or align; `kind` a short word to group by; `message` a sentence that says
    what to do; `transient` is true if another try may succeed without anybody's help.
    """

    def __init__(self, stage: str, kind: str, message: str, *, transient: bool = False) -> None:
        super().__init__(message)
        self.stage, self.kind, self.message, self.transient = stage, kind, message, transient

    def row(self) -> dict[str, Any]:
        """As schemas.tables.FAILURE."""
        return {"stage": self.stage, "kind": self.kind, "message": self.message, "transient": self.transient}


class MachineError(RuntimeError):
    """This machine or process cannot go on, whatever the recording: the task must fail, so that Spark tries it again,
    elsewhere if it can."""


class ManifestError(ValueError):
    """A manifest that cannot be used; names the column and the first offending rows."""


class NoRecordings(ManifestError):
    """A source in which there is no recording."""


class ExportError(Exception):
    """Files that could not be written; says which, why and what to do."""


class LostClaims(RuntimeError):
    """Another run took this one for dead and does its recordings; says what that means."""
