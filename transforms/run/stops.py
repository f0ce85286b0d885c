"""A run that stops since recordings fail alike: what it has marked as failed so is the store's or the machine's fault,
and is tried again by the next run."""

from __future__ import annotations

import re

from schemas.tables import CHUNKS, FAILURES
from transforms.lake.sql import literal
from transforms.lake.tables import Tables
from transforms.recognition.alike import alike_condition

_IN_A_TASK = re.compile(r"recordings in a row failed (?:at (\w+)|in the (recogni)zer)")


def stage_of(error: BaseException) -> str | None:
    """Where recordings failed alike, if that is what the error says, be it the driver's own or one of a task."""
    found = _IN_A_TASK.search(str(error))
    return None if found is None else found.group(1) or "recognize"


def forgive(tables: Tables, run_id: str, stage: str) -> None:
    """Marks what failed at `stage` in this run as what may pass."""
    mine = f"run_id = {literal(run_id)}"
    struct = "named_struct('stage', error.stage, 'kind', error.kind, 'message', error.message, 'transient', true)"
    tables.update(CHUNKS, f"{mine} AND error IS NOT NULL AND {alike_condition(stage, 'error.')}", {"error": struct})
    tables.update(FAILURES, f"{mine} AND {alike_condition(stage)}", {"transient": "true"})
