"""The whole job on a store: manifest and tables on s3a://, recordings on s3://, also while the store fails."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import fsspec
import pytest
from pyspark.sql import SparkSession

import jobs.check
import jobs.export
import jobs.maintain
import jobs.manifest
import jobs.sql
import jobs.transcribe
from tests.kit import delta_log
from tests.kit.comparison import contents, doubled
from tests.kit.disturbance import CLAIM_S
from tests.kit.driver import Driver
from tests.kit.lake import ENGINE, SHORT_PARTS, cut, quick_session, set_options, write_clip, write_clips
from tests.kit.object_store import BUCKET, Asked, Fault, Proxy, in_store, reads
from tests.s3.conftest import put

LENGTHS_S = {"clip_00.wav": 3.6, "long.wav": 75.0}
RECORDINGS = 6
_CLAIMS = f"run.claim_minutes={CLAIM_S / 60}"
_ANONYMOUS = "org.apache.hadoop.fs.s3a.AnonymousAWSCredentialsProvider"


@pytest.fixture(scope="module")
def manifest(store: Proxy, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Written by jobs.manifest, of recordings that lie in the store: short ones, one in parts, a broken one."""
    folder = tmp_path_factory.mktemp("calls")
    write_clips(folder, RECORDINGS - 2)
    write_clip(folder / "long.wav", cut(20, 75, 0.9))
    (folder / "text.mp3").write_text("This is no recording.")
    for path in folder.iterdir():
        put(path, f"audio/{path.name}")
    store.faults.append(Fault(2, lambda asked: "list-type" in asked.path, 503, "SlowDown"))
    jobs.manifest.main([f"s3://{BUCKET}/audio", "--out", f"s3://{BUCKET}/manifest.parquet"])
    return f"s3a://{BUCKET}/manifest.parquet"


@dataclass(frozen=True)
class Night:
    """What a first run left, in which one request to the store of some fourteen failed in one way or another. But no listing was
    cut: AWS's SDK asks for that no second time."""

    root: Path
    driver: Driver
    failed: int


@pytest.fixture(scope="module")
def night(store: Proxy, manifest: str, tmp_path_factory: pytest.TempPathFactory) -> Night:
    root = in_store(f"s3a://{BUCKET}/night")
    store.clear()
    faults = [
        Fault(1000, _every(27, lambda asked: True), 503, "SlowDown"),
        Fault(1000, _every(29, lambda asked: True), 429, "TooManyRequests"),
        Fault(1000, _every(7, reads(".wav")), cut_bytes=1000),
        Fault(1000, _every(7, reads(".parquet")), cut_bytes=1000),
    ]
    store.faults += faults
    driver = _driver(manifest, root, tmp_path_factory.mktemp("night"))
    status = driver.wait()
    failed = sum(1000 - fault.times for fault in faults)
    store.clear()
    assert status == 0, driver.said()[-3000:]
    return Night(root, driver, failed)


def _every(nth: int, whose: Callable[[Asked], bool]) -> Callable[[Asked], bool]:
    """True for one request of `nth` of those."""
    seen = itertools.count(1)
    return lambda asked: whose(asked) and next(seen) % nth == 0


def _driver(manifest: str, root: Path, folder: Path) -> Driver:
    return Driver.of_tests(manifest, root, folder / "driver.calls")


def test_a_store_that_fails_now_and_then_loses_and_doubles_nothing(night: Night) -> None:
    assert night.failed > 20
    recordings = {Path(row["uri"]).name: row for row in delta_log.rows(night.root, "recordings")}
    assert {name for name, row in recordings.items() if row["status"] == "ok"} == {*recordings} - {"text.mp3"}
    assert len(recordings) == RECORDINGS
    for name, length_s in LENGTHS_S.items():
        assert recordings[name]["duration_ms"] == pytest.approx(length_s * 1000, abs=1)
    assert [
        row["error"]["kind"] if "error" in row else row["kind"] for row in delta_log.rows(night.root, "failures")
    ] == ["corrupt"]
    assert not doubled(night.root)
    assert max(night.driver.calls().values()) == 1


@pytest.fixture(scope="module")
def spark(store: Proxy, tmp_path_factory: pytest.TempPathFactory) -> SparkSession:
    """The jobs' own, in this process: they find it there."""
    return quick_session(tmp_path_factory.mktemp("warehouse"))


def test_a_second_run_does_nothing_and_jobs_work_on_the_tables(
    night: Night, manifest: str, spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, root = contents(night.root), str(night.root)
    options = set_options(*ENGINE, SHORT_PARTS, f"engine.options.log_path={tmp_path / 'calls'}")
    jobs.transcribe.main(["--manifest", manifest, "--tables", root, *options])
    assert not (tmp_path / "calls").exists()
    assert contents(night.root) == before
    capsys.readouterr()
    jobs.sql.main(["--tables", root, "SELECT count(*) AS recordings FROM recordings WHERE status = 'ok'"])
    assert str(RECORDINGS - 1) in capsys.readouterr().out
    jobs.export.main(["--tables", root, "--format", "srt", "--out", f"s3://{BUCKET}/subtitles"])
    assert len(fsspec.filesystem("s3").find(f"{BUCKET}/subtitles")) == RECORDINGS - 1
    assert _status(jobs.check.main, "--tables", root) == 0, capsys.readouterr().out
    assert _status(jobs.maintain.main, "--tables", root, "--dry-run") == 0
    assert contents(night.root) == before


@pytest.mark.parametrize(
    ("bucket", "settings", "words"),
    [
        ("foreign", {"access.key": "nobody", "secret.key": "wrong"}, "access denied"),
        ("public", {"aws.credentials.provider": _ANONYMOUS}, "access denied"),
        ("absent", {}, "no such bucket"),
    ],
)
def test_tables_that_the_store_denies_are_told_in_a_sentence(
    manifest: str,
    spark: SparkSession,
    bucket: str,
    settings: dict[str, str],
    words: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if bucket != "absent":
        fsspec.filesystem("s3").mkdir(bucket)
    for key, value in settings.items():
        spark._jsc.hadoopConfiguration().set(f"fs.s3a.bucket.{bucket}.{key}", value)
    capsys.readouterr()
    arguments = ["--manifest", manifest, "--tables", f"s3a://{bucket}/tables", *set_options(*ENGINE)]
    assert _status(jobs.transcribe.main, *arguments) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert f"s3a://{bucket}" in said[0] and words in said[0]


def test_a_run_whose_credentials_expire_ends_with_a_sentence_and_the_next_one_goes_on(
    store: Proxy, manifest: str, spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = in_store(f"s3a://{BUCKET}/expired")
    options = set_options(*ENGINE, SHORT_PARTS, _CLAIMS, f"engine.options.log_path={tmp_path / 'calls'}")
    arguments = ["--manifest", manifest, "--tables", str(root), *options]
    commits: list[Asked] = []

    def late(asked: Asked) -> bool:
        """After the first rows of chunks are there."""
        before = len(commits)
        if asked.method == "PUT" and asked.path.startswith(f"/{BUCKET}/expired/chunks/_delta_log/00000000000000000001"):
            commits.append(asked)
        return before > 0

    store.faults.append(Fault(1 << 30, late, 403, "ExpiredToken"))
    assert _status(jobs.transcribe.main, *arguments) == 2
    said = capsys.readouterr().err
    assert "renew them" in said or "access denied" in said
    assert "Traceback" not in said
    store.clear()
    time.sleep(CLAIM_S)  # the run could not say that it ended, and this process lives
    assert _status(jobs.transcribe.main, *arguments) == 0
    recordings = delta_log.rows(root, "recordings")
    assert sorted(row["status"] for row in recordings) == ["failed", *["ok"] * (RECORDINGS - 1)]
    assert not doubled(root)


def _status(main: Callable[[list[str]], object], *arguments: str) -> int:
    try:
        return int(main([*arguments]) or 0)  # type: ignore[call-overload]
    except SystemExit as ended:
        return int(ended.code or 0)
