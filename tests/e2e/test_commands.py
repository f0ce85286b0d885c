"""The commands as a user types them: from anywhere, on a cluster's terms, and with mistakes."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import jobs.manifest
import jobs.publish
import jobs.transcribe
from schemas.config import show_config
from tests.e2e.checkout import environment, start_quickly
from tests.kit import delta_log
from tests.kit.finished import Finished
from tests.kit.lake import ENGINE, QUICK_SUBMIT, ROOT, engine_config, set_options, write_manifest


def test_spark_submit_runs_from_anywhere_with_nothing_but_a_zip(finished: Finished, tmp_path: Path) -> None:
    """One core, another folder, and on the path nothing but the zip: the same rows as in this process."""
    start_quickly(tmp_path)
    (tmp_path / "app" / "jobs").mkdir(parents=True)
    shutil.copy(ROOT / "jobs" / "transcribe.py", tmp_path / "app" / "jobs")
    archive = tmp_path / "lakescribe.zip"
    subprocess.run([sys.executable, ROOT / "conf" / "setup" / "make_zip.py", archive], check=True, capture_output=True)
    with zipfile.ZipFile(archive, "a") as zip_file:
        for name in ("tests/__init__.py", "tests/kit/__init__.py", "tests/kit/engine.py"):
            zip_file.write(ROOT / name, name)
    (tmp_path / "config.yaml").write_text(show_config(engine_config()), encoding="utf-8")
    write_manifest(tmp_path / "manifest.parquet", finished.manifest[:3])
    submit = [Path(sys.executable).parent / "spark-submit", "--master", "local[1]"]
    submit += ["--properties-file", ROOT / "conf" / "spark-local.conf", "--py-files", archive]
    for setting in QUICK_SUBMIT["PYSPARK_SUBMIT_ARGS"].split()[1:-1:2]:
        submit += ["--conf", setting]
    job = ["app/jobs/transcribe.py", "--config", "config.yaml", "--manifest", "manifest.parquet", "--tables", "./lake"]
    done = subprocess.run(
        [*submit, *job],
        cwd=tmp_path,
        env=environment() | {"PYSPARK_PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 recordings (0 failed" in done.stdout + done.stderr
    audio_ids = {row["audio_id"] for row in delta_log.rows(tmp_path / "lake", "recordings")}
    assert len(audio_ids) == 3
    for table in ("chunks", "recordings", "segments", "words"):
        same = [row for row in finished.lake.contents(table)[table] if any(audio_id in row for audio_id in audio_ids)]
        assert delta_log.contents(tmp_path / "lake", table) == same, table


def test_publish_makes_the_tables_again_with_other_segments_and_no_engine(finished: Finished, tmp_path: Path) -> None:
    lake = finished.lake.copy(tmp_path)
    before, long = lake.contents(), finished.lake.by_name("recordings")["long.wav"]
    jobs.publish.main(["--tables", str(lake.root), "--set", "segments.max_chars=20"])
    assert len(lake.rows("segments")) > len(before["segments"])
    assert max(len(row["text"]) for row in lake.rows("segments") if " " in row["text"]) <= 20
    assert lake.by_name("recordings")["long.wav"] | {"take_id": long["take_id"]} == long
    words, words_before = (
        {row["word_index"]: row["word"] for row in of.rows("words") if row["audio_id"] == long["audio_id"]}
        for of in (lake, finished.lake)
    )
    assert words == words_before
    jobs.publish.main(["--tables", str(lake.root)])
    assert lake.contents() == before


def refused(
    capsys: pytest.CaptureFixture[str], main: Callable[[list[str]], None], *arguments: object, status: int = 2
) -> str:
    """The one sentence that the command ends with."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as exit_info:
        main([str(argument) for argument in arguments])
    assert exit_info.value.code == status
    error = capsys.readouterr().err
    assert error.startswith("error: "), error
    assert error.count("\n") == 1, error
    return error


def test_a_mistake_in_the_configuration_is_told_in_one_sentence(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    manifest = write_manifest(tmp_path / "manifest.parquet", [{"uri": "a.wav"}])
    asked = ("--manifest", manifest, "--tables", tmp_path / "tables")
    mistakes = {
        "vad.treshold=0.6": "did you mean 'vad.threshold'",
        "vad.threshold=2": "vad.threshold",
        "engine.name=whispr": "unknown engine 'whispr'",
        "engine.name=no.such:Engine": "cannot be imported",
        "engine.options.colour=blue": "does not take the options",
        "threshold": "section.key=value",
    }
    for mistake, expected in mistakes.items():
        assert expected in refused(capsys, jobs.transcribe.main, *asked, "--set", mistake)
    assert "nothing.yaml" in refused(capsys, jobs.transcribe.main, *asked, "--config", tmp_path / "nothing.yaml")
    assert not (tmp_path / "tables").exists()


def test_a_manifest_that_cannot_be_used_is_told_in_one_sentence_and_nothing_has_run(
    finished: Finished, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "manifest.parquet"
    asked = (*set_options(*ENGINE), "--manifest", path, "--tables", tmp_path / "tables")
    assert "manifest.parquet cannot be read" in refused(capsys, jobs.transcribe.main, *asked)
    pq.write_table(pa.table({"path": ["a.wav"]}), path)
    assert "column uri is missing" in refused(capsys, jobs.transcribe.main, *asked)
    pq.write_table(pa.table({"uri": ["a", "b"], "audio_id": ["x", "x"]}), path)
    assert "column audio_id is not unique: x in 2 rows" in refused(capsys, jobs.transcribe.main, *asked)
    assert not (tmp_path / "tables").exists()


def test_tables_that_are_not_there_are_told_in_one_sentence(
    finished: Finished, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert "nowhere" in refused(capsys, jobs.publish.main, "--tables", tmp_path / "nowhere")


def test_the_manifest_command_writes_what_it_finds_and_tells_what_it_does_not(
    finished: Finished, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    jobs.manifest.main([str(finished.audio), "--out", str(tmp_path / "new" / "all.parquet")])
    assert "9 recordings" in capsys.readouterr().err
    found = pq.read_table(tmp_path / "new" / "all.parquet")
    assert found.num_rows == len(list(finished.audio.iterdir()))
    assert found.schema.names == ["uri", "size_bytes", "modified_at"]
    for source in (tmp_path / "nothing", "*.nothing"):
        asked = (source, "--out", tmp_path / "x.parquet")
        assert "no recording found" in refused(capsys, jobs.manifest.main, *asked, status=3)
    assert not (tmp_path / "x.parquet").exists()


def test_a_manifest_is_written_to_a_store_too_whole_or_not_at_all(
    finished: Finished, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    jobs.manifest.main([str(finished.audio), "--out", "memory://manifests/all.parquet"])
    with fsspec.open("memory://manifests/all.parquet") as file:
        assert pq.read_table(file).num_rows == len(list(finished.audio.iterdir()))
    (tmp_path / "file").touch()
    asked = (finished.audio, "--out", tmp_path / "file" / "all.parquet")
    assert "give --out another place" in refused(capsys, jobs.manifest.main, *asked)


@pytest.mark.parametrize("arguments", [[], ["--manifest", "m.parquet"], ["--reprocess", "some"]])
def test_missing_arguments_end_with_the_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        jobs.transcribe.main(arguments)
    assert exit_info.value.code == 2
    assert "usage: jobs.transcribe" in capsys.readouterr().err
