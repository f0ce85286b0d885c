"""Chunks → segments, words, failures, then recordings. Plain DataFrame code that asks no engine.

The order is what keeps readers safe: a take's segments and words are there before its row in recordings points to them
by take_id, and those of the take it replaces go last. Each table gets one commit, which Delta makes once however often
it is tried, and not at all for a run that was taken for dead (Tables.fence)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.storagelevel import StorageLevel

from schemas.config import SegmentsConfig
from schemas.tables import CHUNKS, FAILURES, RECORDINGS, SEGMENTS, WORDS, to_batch
from transforms.lake.sql import any_of, literal
from transforms.lake.tables import Tables
from transforms.lake.tickets import Ticket
from transforms.publishing.transcript import assemble

_LISTED = 2_000
"""So many rows to delete are written into the statement, which reads fewer files than a join."""
_NESTED = (SEGMENTS, WORDS, FAILURES)
TRANSCRIPTS = pa.schema(
    [*RECORDINGS.arrow, *(pa.field(table.name, pa.list_(pa.struct(list(table.arrow)))) for table in _NESTED)]
)
"""A row of recordings with its rows of the other tables, as `assemble` returns it."""


TAKES = pa.schema(
    [
        ("audio_id", pa.string()),
        ("run_key", pa.string()),
        ("run_ids", pa.list_(pa.string())),
        ("replaces", pa.string()),
        ("begun", pa.list_(pa.string())),
        ("made_again", pa.bool_()),
    ]
)
"""Recordings to publish: their rows of chunks under `run_key` by the runs `run_ids` (null: by whichever run). A take
takes the place of the take `replaces` (null: nothing was shown); `begun` are takes that were never shown whole;
`made_again`: of other runs' chunks under this run_key, nothing is to be left."""


class Publisher:
    """Publishes takes under one take_id, one call after the other. `ticket` is asked for each commit; `confirm` raises
    if another run has taken over one of these recordings: it is asked before anything that readers may still need is
    deleted."""

    def __init__(
        self,
        tables: Tables,
        config: SegmentsConfig,
        take_id: str,
        ticket: Callable[[], Ticket],
        confirm: Callable[[Sequence[str]], None],
    ) -> None:
        self._tables, self._config, self._take_id, self._ticket, self._confirm = (
            tables,
            config,
            take_id,
            ticket,
            confirm,
        )

    def publish(self, takes: pa.Table, chunks: DataFrame) -> None:
        """Makes the public tables show `takes`, each of them complete in `chunks` (rows of the table, others among
        them). Raises RuntimeError if one is not."""
        if not takes.num_rows:
            return
        mine = chunks.join(
            F.broadcast(self._tables.frame(takes.select(["audio_id", "run_key", "run_ids"]))), ["audio_id", "run_key"]
        )
        mine = mine.where("run_ids IS NULL OR array_contains(run_ids, run_id)").select(CHUNKS.names)
        transcripts = mine.groupBy("audio_id", "run_key").applyInArrow(
            _assembler(self._config, self._take_id), from_arrow_schema(TRANSCRIPTS)
        )
        transcripts = transcripts.persist(StorageLevel.MEMORY_AND_DISK)
        try:
            self._write(takes, transcripts)
        finally:
            transcripts.unpersist()
        known = _known(takes)
        if known.num_rows:
            self._confirm(known["audio_id"].to_pylist())
            self._delete_earlier(known)

    def _write(self, takes: pa.Table, transcripts: DataFrame) -> None:
        counts = transcripts.select(
            F.count("*").alias("takes"), *(F.sum(F.size(table.name)).alias(table.name) for table in _NESTED)
        ).first()
        assert counts is not None
        if counts.takes != takes.num_rows:
            raise RuntimeError(f"publishing was given {takes.num_rows} recordings and found chunks of {counts.takes}")
        for table in (SEGMENTS, WORDS):
            if counts[table.name]:
                self._tables.append(table, _rows(transcripts, table.name), self._ticket())
        self._write_failures(transcripts, _known(takes), bool(counts[FAILURES.name]))
        recordings = transcripts.select(RECORDINGS.names)
        if takes["replaces"].null_count < takes.num_rows:
            self._tables.upsert(RECORDINGS, recordings, RECORDINGS.key, ticket=self._ticket())
        else:
            self._tables.append(RECORDINGS, recordings, self._ticket())

    def _write_failures(self, transcripts: DataFrame, known: pa.Table, any_new: bool) -> None:
        """Failures of these recordings that are not met again are over; the same run published twice is still one
        attempt."""
        failures = _rows(transcripts, FAILURES.name)
        earlier = self._with_failures(known)
        if earlier:
            self._tables.upsert(
                FAILURES,
                failures,
                FAILURES.key,
                update={"attempts": "t.attempts + 1"},
                only_if="t.run_id <> s.run_id",
                drop=any_of("t.audio_id", earlier),
                ticket=self._ticket(),
            )
        elif any_new:
            self._tables.append(FAILURES, failures, self._ticket())

    def _with_failures(self, takes: pa.Table) -> list[str]:
        """The audio_ids of which the table failures has rows."""
        if not takes.num_rows:
            return []
        ids = self._tables.frame(takes.select(["audio_id"]))
        found = self._tables.read(FAILURES).join(F.broadcast(ids), "audio_id", "left_semi")
        return [row.audio_id for row in found.select("audio_id").distinct().collect()]

    def _delete_earlier(self, takes: pa.Table) -> None:
        """Segments and words of takes that are no longer shown, and chunks of parts that were made again."""
        # Of takes that died nobody knows what they had replaced; of all others just that is left.
        died = pc.greater(pc.list_value_length(takes["begun"]), 0)
        for some in (takes.filter(died), takes.filter(pc.invert(died))):
            if some.num_rows:
                self._delete_stale(some, None if some["begun"][0].as_py() else some["replaces"].to_pylist())
        again = takes.filter(takes["made_again"])
        if again.num_rows:
            same = "t.audio_id = s.audio_id AND t.run_key = s.run_key"
            others = f"{same} AND NOT array_contains(s.run_ids, t.run_id)"
            self._tables.delete_matching(CHUNKS, self._tables.frame(again), others)

    def _delete_stale(self, takes: pa.Table, gone: Sequence[str] | None) -> None:
        """Segments and words of these recordings by other takes than the one that is shown now, all or those `gone`."""
        others = f"take_id <> {literal(self._take_id)}" + ("" if gone is None else f" AND {any_of('take_id', gone)}")
        for table in (SEGMENTS, WORDS):
            if takes.num_rows <= _LISTED:
                self._tables.delete(table, f"{any_of('audio_id', takes['audio_id'].to_pylist())} AND {others}")
            else:
                frame = self._tables.frame(takes.select(["audio_id"])).withColumn("shown", F.lit(self._take_id))
                self._tables.delete_matching(table, frame, "t.audio_id = s.audio_id AND t.take_id <> s.shown")


def _known(takes: pa.Table) -> pa.Table:
    """Those of which an earlier take may have left rows."""
    return takes.filter(pc.or_(pc.is_valid(takes["replaces"]), pc.greater(pc.list_value_length(takes["begun"]), 0)))


def _assembler(config: SegmentsConfig, take_id: str) -> Callable[[pa.Table], pa.Table]:
    def assemble_take(chunks: pa.Table) -> pa.Table:
        rows = chunks.to_pylist(maps_as_pydicts="lossy")
        return pa.Table.from_batches([to_batch([assemble(rows, config, take_id)], TRANSCRIPTS)])

    return assemble_take


def _rows(transcripts: DataFrame, name: str) -> DataFrame:
    return transcripts.select(F.explode(name).alias("row")).select("row.*")
