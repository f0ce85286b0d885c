"""Publishing by hand: chunks that no engine made become transcripts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any

import pyarrow as pa

from schemas.config import SegmentsConfig
from schemas.tables import CHUNKS, RECORDINGS
from transforms.lake.session import own_session
from transforms.lake.tables import Tables
from transforms.lake.tickets import Ticket
from transforms.publishing.publish import TAKES, Publisher


def publish(
    tables: Tables,
    takes: Sequence[tuple[str, str]],
    take_id: str = "take",
    config: SegmentsConfig | None = None,
    run_ids: Sequence[str] | None = None,
    begun: Sequence[str] = (),
) -> None:
    """Publishes the (audio_id, run_key) in `takes` as the run `take_id` would, of the chunks of `run_ids` (None: all), in
    place of what recordings shows; `begun`: takes that died before."""
    shown = {row.audio_id: row for row in tables.read(RECORDINGS).select("audio_id", "take_id", "run_key").collect()}
    rows: list[dict[str, Any]] = []
    for audio_id, run_key in takes:
        old = shown.get(audio_id)
        take = {"audio_id": audio_id, "run_key": run_key, "run_ids": run_ids, "begun": list(begun)}
        again = run_ids is not None and old is not None and old.run_key == run_key
        rows.append({**take, "replaces": old and old.take_id, "made_again": again})
    own = Tables(own_session(tables.spark), tables.root)
    numbers = count(1)
    publisher = Publisher(
        own, config or SegmentsConfig(), take_id, lambda: Ticket(take_id, next(numbers)), lambda ids: None
    )
    publisher.publish(pa.Table.from_pylist(rows, TAKES), own.read(CHUNKS))
