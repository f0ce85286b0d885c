"""jobs.export as its users run it: formats, filters, names, and what can go wrong with files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pysubs2
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

import jobs.export
from schemas.tables import RECORDINGS, SEGMENTS, WORDS
from tests.e2e.test_commands import refused
from tests.kit.finished import Finished
from tests.kit.lake import Lake
from transforms.exports import FORMATS
from transforms.exports.names import file_stem


@dataclass(frozen=True)
class Exporter:
    lake: Lake
    folder: Path

    def __call__(self, name: str, *arguments: object) -> dict[str, str]:
        """Exports into a folder of the test's and returns its files' texts by name."""
        out = self.folder / name
        jobs.export.main(["--tables", str(self.lake.root), "--out", str(out), *map(str, arguments)])
        return {path.name: path.read_text(encoding="utf-8") for path in sorted(out.iterdir())}


@pytest.fixture
def exported(finished: Finished, tmp_path: Path) -> Exporter:
    return Exporter(finished.lake, tmp_path)


def test_every_recording_with_a_transcript_has_its_file_and_a_second_run_changes_nothing(
    exported: Exporter, capsys: pytest.CaptureFixture[str]
) -> None:
    first = exported("json", "--format", "json")
    summary = capsys.readouterr().err
    assert "9 files of 9 recordings" in summary
    assert "2 failed recordings have none" in summary
    rows = {row["audio_id"]: row for row in exported.lake.rows("recordings") if row["status"] != "failed"}
    words = exported.lake.rows("words")
    assert set(first) == {f"{file_stem(row['audio_id'], row['uri'])}.json" for row in rows.values()}
    for text in first.values():
        read = json.loads(text)
        row = rows[read["audio_id"]]
        mine = sorted((w for w in words if w["audio_id"] == row["audio_id"]), key=lambda w: w["word_index"])
        assert (read["text"], read["language"]) == (row["text"] or "", row["language"])
        assert [word["word"] for word in read["words"]] == [word["word"] for word in mine]
        assert [word["start"] for word in read["words"]] == [word["start_ms"] / 1000 for word in mine]
    assert exported("json", "--format", "json") == first


def test_shards_hold_the_same_objects_once_each(exported: Exporter) -> None:
    single = {json.loads(text)["audio_id"]: json.loads(text) for text in exported("json", "--format", "json").values()}
    shards = exported("lines", "--format", "json", "--per", "shard", "--shards", 3)
    assert len(shards) > 1
    assert set(shards) <= {f"part-{k:05d}-of-00003.jsonl" for k in range(3)}
    objects = [json.loads(line) for text in shards.values() for line in text.split("\n") if line]
    assert len(objects) == len(single)
    assert {read["audio_id"]: read for read in objects} == single
    (name,) = exported("ctm", "--format", "ctm", "--per", "shard")
    assert name == "part-00000-of-00001.ctm"


def test_only_what_was_asked_for_and_with_the_asked_limits(exported: Exporter) -> None:
    (call,) = [row for row in exported.lake.rows("recordings") if (row["uri"] or "").endswith("call.wav")]
    (text,) = exported("one", "--format", "srt", "--audio-ids", call["audio_id"]).values()
    narrow = ("--set", "subtitles.max_line_chars=20", "--set", "subtitles.max_lines=1")
    (limited,) = exported("where", "--format", "srt", "--where", "uri LIKE '%call.wav'", *narrow).values()
    wide_lines, lines = (
        [line for event in pysubs2.SSAFile.from_string(one) for line in event.plaintext.split("\n")]
        for one in (text, limited)
    )
    assert max(map(len, wide_lines)) > 20 >= max(map(len, lines))
    # Both speak at once, so the order of their subtitles may differ.
    assert sorted("".join(wide_lines).replace(" ", "")) == sorted("".join(lines).replace(" ", ""))


def test_only_the_run_that_recordings_shows_is_exported(
    exported: Exporter, spark: SparkSession, tmp_path: Path
) -> None:
    lake = exported.lake.copy(tmp_path / "copy")
    for table in (WORDS, SEGMENTS):
        lake.tables.append(table, lake.tables.read(table).withColumn("take_id", F.lit("older")))
    assert Exporter(lake, tmp_path)("stale", "--format", "rttm") == exported("rttm", "--format", "rttm")


def test_words_that_do_not_agree_with_the_recording_are_told_and_the_others_written(
    exported: Exporter, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    lake = exported.lake.copy(tmp_path / "copy")
    long = lake.by_name("recordings")["long.wav"]["audio_id"]
    lake.tables.delete_matching(
        WORDS,
        lake.tables.read(RECORDINGS).where(F.col("audio_id") == long),
        "t.word_index = 3 AND t.audio_id = s.audio_id",
    )
    error = refused(capsys, jobs.export.main, "--tables", lake.root, "--format", "txt", "--out", tmp_path / "txt")
    assert "1 of 9 files could not be written" in error
    assert f"{long} is being published again" in error
    assert len(list((tmp_path / "txt").iterdir())) == 8


def test_several_formats_are_written_by_one_command_as_each_by_itself(exported: Exporter) -> None:
    narrow = ("--where", "uri LIKE '%call.wav'")
    both = exported("both", "--format", "srt", "json", *narrow)
    assert both == exported("both_srt", "--format", "srt", *narrow) | exported("both_json", "--format", "json", *narrow)
    assert len(both) == 2


def test_a_request_that_makes_no_sense_is_told_in_one_sentence_and_writes_nothing(
    finished: Finished, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    out = tmp_path / "out"
    asked = ["--tables", finished.lake.root, "--out", out]
    for arguments, expected in {
        ("--format", "docx"): f"unknown format 'docx': known are {', '.join(FORMATS)}",
        ("--format", "txt", "strt"): "did you mean 'srt'?",
        ("--format", "srt", "--per", "shard"): "holds one recording; --per shard is for json, ctm, rttm",
        ("--format", "json", "--shards", "3"): "together with --per shard",
        ("--format", "ctm", "--embed-audio"): "--embed-audio is for html",
        ("--format", "txt", "--where", "colour = 'blue'"): "colour",
        ("--format", "txt", "--where", "SELECT FROM"): "--where SELECT FROM",
        ("--format", "txt", "--where", "duration_ms / 0 > 1"): "DIVIDE_BY_ZERO",
        ("--format", "txt", "--out", "nowhere://bucket/out"): "nothing here opens nowhere://",
        ("--format", "txt", "--audio-ids", "nobody"): "1 of the audio_ids are not in",
        ("--format", "txt", "--out", tmp_path / "file"): "is a file; give a folder",
        ("--format", "txt", "--tables", tmp_path / "nowhere"): "nowhere has no table",
    }.items():
        assert expected in refused(capsys, jobs.export.main, *asked, *arguments)
    assert not out.exists()


def test_a_full_disk_is_told_in_one_sentence_and_leaves_no_half_file(
    finished: Finished, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(disk)]
    if sys.platform != "linux" or os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        asked = ("--tables", finished.lake.root, "--format", "json", "--out", disk)
        error = refused(capsys, jobs.export.main, *asked)
        assert "No space left on device; make room there" in error
        left = [path.read_text() for path in disk.iterdir()]
        assert len(left) < 9
        assert all(json.loads(text) for text in left)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_recordings_of_one_name_in_two_folders_keep_a_file_each(exported: Exporter, tmp_path: Path) -> None:
    lake = exported.lake.copy(tmp_path / "copy")
    clips = lake.tables.read(RECORDINGS).where("uri LIKE '%clip_0%'")
    same = clips.withColumn("uri", F.concat(F.lit("/"), "audio_id", F.lit("/talk.wav")))
    lake.tables.upsert(RECORDINGS, same, RECORDINGS.key)
    files = Exporter(lake, tmp_path)("txt", "--format", "txt", "--where", "uri LIKE '%/talk.wav'")
    assert len(files) == len(set(files.values())) == 5
    assert all(name.startswith("talk-") for name in files)


def test_a_page_links_to_its_recording_or_holds_it_and_says_where_it_could_not(
    exported: Exporter, capsys: pytest.CaptureFixture[str], finished: Finished
) -> None:
    chosen = ("--format", "html", "--where", "uri LIKE '%clip_00.wav' OR uri LIKE '%silence.wav' OR uri IS NULL")
    linked = exported("linked", *chosen)
    assert len(linked) == 3
    (clip,) = [text for name, text in linked.items() if name.startswith("clip_00-")]
    link = clip.partition('src="')[2].partition('"')[0]
    assert (exported.folder / "linked" / link).resolve() == finished.audio / "clip_00.wav"
    silence = finished.audio / "silence.wav"
    hidden = silence.rename(silence.with_suffix(".hidden"))
    try:
        embedded = exported("embedded", *chosen, "--embed-audio")
    finally:
        hidden.rename(silence)
    assert sum('src="data:audio/wav;base64,UklGR' in text for text in embedded.values()) == 1
    assert "warning: in 1 files" in (told := capsys.readouterr().err)
    assert "silence.wav does not exist" in told
