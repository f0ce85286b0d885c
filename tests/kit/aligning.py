"""Alignment without a task around it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from transforms.engines import AlignerSpec, Hypothesis, Samples
from transforms.engines.resident import Resident
from transforms.recognition.align import AlignerAtWork, Timed, aligner_stream, timing
from transforms.recognition.batching import Window
from transforms.recognition.dialogues import hold


def align_all(
    aligners: Sequence[tuple[str, AlignerSpec | None, Any]], items: Sequence[tuple[Samples, Hypothesis]]
) -> list[Timed]:
    """`timing` of each item by the loaded `aligners`, (name, spec, engine), in one batch."""
    bell = threading.Condition()
    at_work = [
        AlignerAtWork(
            name,
            spec,
            engine
            and aligner_stream(
                name,
                engine if isinstance(engine, Resident) else Resident(lambda engine=engine: engine),
                Window(1e9),
                bell,
            ),
        )
        for name, spec, engine in aligners
    ]
    streams = [aligner.stream for aligner in at_work if aligner.stream]
    return hold([timing(at_work, *item) for item in items], streams, bell)
