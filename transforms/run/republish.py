"""All recordings published again from chunks, in one pass and without an engine: after a change of the configuration
that only publishing knows, or of this code. What jobs/publish.py does, as a Python call."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from schemas.config import Config, ConfigError, show_config
from schemas.tables import CHUNKS, CLAIMS, RECORDINGS
from transforms.lake.session import limit_arrow_batches, own_session
from transforms.lake.sql import any_of
from transforms.lake.tables import Tables
from transforms.publishing.publish import TAKES, Publisher
from transforms.run.claims import Claims, Writer
from transforms.run.registry import Registry
from transforms.run.units import Progress


@dataclass(frozen=True)
class Republished:
    """`left`: recordings that a run is at work on, or that one which died has left unfinished."""

    recordings: int
    left: int


def republish(spark: SparkSession, config: Config, root: str) -> Republished:
    """Publishes what recordings shows, and what a run that died had recognized whole but not published. Raises
    ConfigError if there are no tables at `root`, or if recordings shows one twice."""
    limit_arrow_batches(spark)
    tables = Tables(spark, root)
    tables.upgrade()
    with Registry(tables, config.run.claim_minutes) as registry:
        takes = pa.concat_tables([_shown(tables), unfinished(tables, registry)])
        if takes.num_rows:
            with registry.running(show_config(config, redacted=True)) as run_id:
                _publish(tables, registry, takes, config, run_id)
        return Republished(takes.num_rows, tables.read(CLAIMS).count())


def _publish(tables: Tables, registry: Registry, takes: pa.Table, config: Config, run_id: str) -> None:
    claims = Claims(tables, registry)
    taken = claims.take(dict(zip(takes["audio_id"].to_pylist(), takes["replaces"].to_pylist(), strict=True)))
    held = pa.array([audio_id in taken.held for audio_id in takes["audio_id"].to_pylist()])
    published = Tables(own_session(tables.spark), tables.root)
    publisher = Publisher(published, config.segments, run_id, Writer(run_id, "publisher").ticket, claims.confirm)
    publisher.publish(takes.filter(held), published.read(CHUNKS))
    claims.release(list(taken.held))


def _shown(tables: Tables) -> pa.Table:
    """What recordings shows, but for what some run has claimed."""
    free = tables.read(RECORDINGS).join(tables.read(CLAIMS), "audio_id", "left_anti")
    rows = free.select("audio_id", "run_key", F.col("take_id").alias("replaces")).orderBy("audio_id").toArrow()
    if doubled := rows.num_rows - len(pc.unique(rows["audio_id"])):
        raise ConfigError(
            f"{tables.where(RECORDINGS)} has {doubled} rows too many for its recordings, as two drivers of an earlier "
            f"version at once left them; mend it with: python -m jobs.check --repair --tables {tables.root}"
        )
    nothing = {"run_ids": pa.nulls(rows.num_rows), "made_again": pa.array([False] * rows.num_rows)}
    columns = {**{name: rows[name] for name in rows.column_names}, **nothing, "begun": pa.array([[]] * rows.num_rows)}
    return pa.table([columns[name].cast(TAKES.field(name).type) for name in TAKES.names], schema=TAKES)


def unfinished(tables: Tables, registry: Registry) -> pa.Table:
    """Of what runs that died had claimed, the recordings whose parts are all in chunks; under the run_key of the
    last."""
    claims = tables.read(CLAIMS).collect()
    living = registry.living()  # afterwards, since a run registers before it claims
    begun = {row.audio_id: (row.replaces, [*row.begun, row.run_id]) for row in claims if row.run_id not in living}
    runs = {run_id for _, run_ids in begun.values() for run_id in run_ids}
    closings = tables.read(CHUNKS).where(f"{any_of('run_id', runs)} AND closing IS NOT NULL")
    found: dict[str, dict[str, Progress]] = defaultdict(dict)
    for row in closings.select("audio_id", "run_key", "run_id", "part_index", "closing.*").orderBy("run_id").collect():
        if row.run_id in begun.get(row.audio_id, ("", []))[1]:
            progress = found[row.audio_id].pop(row.run_key, Progress())
            progress.close(row)
            found[row.audio_id][row.run_key] = progress  # the latest last
    takes = []
    for audio_id, by_key in sorted(found.items()):
        for run_key in [key for key, progress in by_key.items() if progress.complete][-1:]:
            replaces, run_ids = begun[audio_id]
            take = {"audio_id": audio_id, "run_key": run_key, "replaces": replaces, "begun": run_ids}
            takes.append({**take, "run_ids": run_ids, "made_again": False})
    return pa.Table.from_pylist(takes, TAKES)
