"""What jobs after this one read of the tables: only what is new, and without Spark."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import deltalake
import duckdb
import pytest

from schemas.tables import ALL, CLAIMS, EVALUATIONS, Table
from tests.kit import delta_log
from tests.kit.finished import Finished
from tests.kit.lake import cut, write_clip


def test_the_change_data_feed_of_words_tells_what_a_run_added_and_replaced(finished: Finished, tmp_path: Path) -> None:
    lake = finished.lake.copy(tmp_path)
    seen, before = delta_log.version(lake.root, "words"), lake.rows("words")
    replaced = lake.by_name("recordings")["clip_00.wav"]["audio_id"]
    new = write_clip(tmp_path / "new.wav", cut(110, 6))
    lake.run([finished.manifest[0], new], voice="b", reprocess="changed")
    feed = lake.spark.read.option("readChangeFeed", "true").option("startingVersion", seen + 1)
    changes = feed.format("delta").load(f"{lake.root}/words").collect()
    kinds = Counter((row._change_type, row.audio_id == replaced) for row in changes)
    deleted = Counter(row.word for row in changes if row._change_type == "delete")
    assert deleted == Counter(row["word"] for row in before if row["audio_id"] == replaced)
    inserted = Counter((row.audio_id, row.take_id, row.word) for row in changes if row._change_type == "insert")
    wanted = {replaced, lake.by_name("recordings")["new.wav"]["audio_id"]}
    shown = [row for row in lake.rows("words") if row["audio_id"] in wanted]
    assert inserted == Counter((row["audio_id"], row["take_id"], row["word"]) for row in shown)
    assert kinds.keys() == {("insert", True), ("insert", False), ("delete", True)}


@pytest.mark.parametrize("table", ALL, ids=lambda table: table.name)
def test_delta_rs_and_duckdb_open_every_table(finished: Finished, table: Table) -> None:
    opened = deltalake.DeltaTable(str(finished.lake.root / table.name)).to_pyarrow_dataset()
    columns = ", ".join(f'"{name}"' for name in table.names)
    rows = duckdb.connect().register("opened", opened).sql(f"SELECT {columns} FROM opened").fetchall()
    assert len(rows) == len(finished.lake.rows(table.name))
    assert rows or table in (CLAIMS, EVALUATIONS), "read nothing"
