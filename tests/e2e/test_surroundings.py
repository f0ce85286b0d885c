"""What goes wrong around the job: each is an error in a sentence, or is waited for; nothing is lost or doubled.

Here: the tables' disk fills, a clock was ahead, somebody has changed a table. Where others are tried: a DAG without its
connection or a day without data in tests/airflow, a folder that fills while it is listed, a manifest that is half
written and a checkpoint of something else in tests/watching, credentials and regions in tests/s3, the disk that
downloads go to in tests/stores/test_reasons.py, the exports' in tests/e2e/test_export.py."""

from __future__ import annotations

import datetime
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.errors import AnalysisException

from jobs.cli import exit_with_reason
from jobs.status import Status
from schemas.tables import CLAIMS, RUNS, WORDS
from tests.e2e.test_status import status_of
from tests.kit import delta_log
from tests.kit.comparison import contents, differences, doubled
from tests.kit.finished import Finished
from tests.kit.lake import Lake


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=500k", "none", folder], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("needs the right to mount a small disk")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_disk_that_is_full_ends_the_run_in_a_sentence_and_with_room_the_next_one_goes_on(
    finished: Finished, small_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lake = Lake(finished.lake.spark, small_disk)

    def night() -> None:
        with exit_with_reason():
            lake.run(finished.manifest, "run.claim_minutes=0.05")  # how it ended could not be written either

    assert status_of(night) == Status.MACHINE
    assert "no room is left on the disk" in capsys.readouterr().err
    subprocess.run(["mount", "-o", "remount,size=100m", small_disk], check=True)
    assert status_of(night) == Status.DONE
    assert differences(lake.root, contents(finished.lake.root)) == []
    assert doubled(lake.root) == []


def test_runs_whose_clock_was_ahead_hold_nothing_for_ever_and_later_ones_count(
    finished: Finished, tmp_path: Path
) -> None:
    lake = finished.lake.copy(tmp_path)
    recordings = lake.by_name("recordings")
    before = contents(lake.root)
    ahead = {"run_id": "20990101T000000.000000Z-abc123", "status": "running", "driver": "elsewhere/1/1"}
    lake.add(RUNS, [ahead | {"alive_at": datetime.datetime(2099, 1, 1, tzinfo=datetime.UTC)}])
    held = recordings["clip_00.wav"]["audio_id"]
    lake.add(CLAIMS, [{"audio_id": held, "run_id": ahead["run_id"], "begun": []}])
    summary = lake.run(finished.manifest[:2], reprocess="all")
    assert (summary.recordings, summary.run_id > ahead["run_id"]) == (2, True)
    assert {row["run_id"] for row in lake.rows("recordings")} == {recordings["clip_02.wav"]["run_id"], summary.run_id}
    assert contents(lake.root)["words"] == before["words"]
    assert not lake.rows("claims")
    assert {row["run_id"]: row["status"] for row in lake.rows("runs")}[ahead["run_id"]] == "lost"


def test_a_column_that_somebody_has_dropped_comes_again_and_one_of_a_key_cannot_be(
    finished: Finished, tmp_path: Path
) -> None:
    lake = finished.lake.copy(tmp_path)
    again = lake.by_name("recordings")["clip_00.wav"]["audio_id"]
    expected = [row | ({} if row["audio_id"] == again else {"confidence": None}) for row in lake.rows("words")]
    drop(lake, "confidence")
    lake.run(finished.manifest[:1], reprocess="all")
    assert sorted(map(delta_log.text, lake.rows("words"))) == sorted(map(delta_log.text, expected))
    with pytest.raises(AnalysisException, match="Couldn't find column word_index"):
        drop(lake, "word_index")


def drop(lake: Lake, column: str) -> None:
    rows = lake.tables.read(WORDS).drop(column)
    writer = rows.write.format("delta").mode("overwrite").option("overwriteSchema", "true")
    writer.save(lake.tables.path(WORDS))
