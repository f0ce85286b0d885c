"""What a command's exit status tells a scheduler."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

import jobs.transcribe
from jobs.cli import exit_with_reason
from jobs.status import Status
from schemas.config import ConfigError
from tests.kit.lake import ENGINE, SHORT_PARTS, Lake, file_row, set_options, write_clips, write_manifest
from tests.test_docs import rows
from transforms.errors import ExportError, LostClaims, MachineError, ManifestError, NoRecordings
from transforms.lake.session import NoJava
from transforms.run.claims import Claims
from transforms.run.registry import Registry

Ends = Callable[..., int]


@pytest.fixture
def ends(spark: SparkSession, tmp_path: Path) -> Ends:
    """`jobs.transcribe` over a manifest of these rows, with these arguments → its exit status."""

    def run(manifest: list[dict[str, object]], *arguments: str) -> int:
        path = write_manifest(tmp_path / "manifest.parquet", manifest)
        asked = ["--manifest", str(path), "--tables", str(tmp_path / "tables"), *arguments]
        settings = set_options(*ENGINE, SHORT_PARTS, "run.claim_minutes=0.1")
        return status_of(lambda: jobs.transcribe.main([*asked, *settings]))

    return run


def status_of(work: Callable[[], None]) -> int:
    try:
        work()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def test_every_status_is_in_the_table_of_the_documentation() -> None:
    told = [int(row.split("|")[1]) for row in rows("docs/monitoring.md", "status")]
    assert told == list(Status)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ConfigError("x"), Status.NOT_USABLE),
        (ManifestError("x"), Status.NOT_USABLE),
        (ExportError("x"), Status.NOT_USABLE),
        (NoRecordings("x"), Status.NONE_THERE),
        (MachineError("x"), Status.MACHINE),
        (NoJava("x"), Status.MACHINE),
        (LostClaims("x"), Status.HELD),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_an_error_that_a_person_can_mend_has_its_own_status(error: Exception, status: Status) -> None:
    def fails() -> None:
        with exit_with_reason():
            raise error

    assert status_of(fails) == status


def test_too_many_failures_are_a_status_and_what_was_done_stays_done(ends: Ends, tmp_path: Path) -> None:
    (clip,) = write_clips(tmp_path / "audio", 1, 3.0)
    manifest = [file_row(clip), {"uri": str(tmp_path / "audio" / "missing.wav")}]
    assert ends(manifest, "--fail-above", "49%") == Status.FAILURES
    lake = Lake(SparkSession.getActiveSession(), tmp_path)
    assert lake.by_name("recordings")["clip_00.wav"]["status"] == "ok"
    assert ends(manifest, "--fail-above", "0") == Status.DONE, "nothing was left to do, and so nothing failed"
    assert ends(manifest, "--reprocess", "failed", "--fail-above", "1.0") == Status.DONE
    assert ends(manifest, "--reprocess", "failed") == Status.DONE


@pytest.mark.parametrize("share", ["5 of 100", "-1%", "101%", "5", "nan"])
def test_a_share_that_is_none_is_refused(share: str, ends: Ends, capsys: pytest.CaptureFixture[str]) -> None:
    assert ends([{"uri": "a.wav"}], f"--fail-above={share}") == Status.NOT_USABLE
    assert "write it as in 5% or 0.05" in capsys.readouterr().err


def test_a_run_that_leaves_all_to_others_says_so_and_one_that_does_some_is_done(
    ends: Ends, spark: SparkSession, tmp_path: Path
) -> None:
    lake = Lake(spark, tmp_path)
    lake.tables.create()
    manifest = [file_row(path, audio_id=path.stem) for path in write_clips(tmp_path / "audio", 2, 3.0)]
    with Registry(lake.tables, 0.1) as other:
        other.register("config: none")
        claims = Claims(lake.tables, other)
        claims.take({"clip_00": None, "clip_01": None})
        assert ends(manifest) == Status.HELD
        claims.release(["clip_01"])
        assert ends(manifest) == Status.DONE
    assert lake.by_name("recordings").keys() == {"clip_01.wav"}
