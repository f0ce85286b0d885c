from __future__ import annotations

import datetime
import json
import os
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.config import FetchConfig
from transforms.errors import ManifestError
from transforms.run.listing import list_recordings


def listed(*sources: Any) -> list[dict[str, Any]]:
    return list_recordings([str(source) for source in sources], FetchConfig()).to_pylist()


def names(*sources: Any) -> list[str]:
    return [Path(row["uri"]).name for row in listed(*sources)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in (
        "b.wav",
        "a.MP3",
        "deep/er/c.flac",
        ".hidden.wav",
        "notes.txt",
        "deep/strange.xyz",
        "lists.wav/d.opus",
    ):
        (tmp_path / "calls" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "calls" / name).write_bytes(name.encode())
    os.utime(tmp_path / "calls" / "b.wav", (1_700_000_000, 1_700_000_000))
    return tmp_path / "calls"


def test_a_folder_is_listed_with_all_below_and_nothing_that_is_no_recording(folder: Path) -> None:
    assert sorted(names(folder)) == ["a.MP3", "b.wav", "c.flac", "d.opus"]
    (row,) = [row for row in listed(folder) if row["uri"].endswith("b.wav")]
    assert row == {
        "uri": str((folder / "b.wav").resolve()),
        "size_bytes": 5,
        "modified_at": datetime.datetime.fromtimestamp(1_700_000_000, datetime.UTC),
    }


def test_files_and_globs_are_taken_as_they_are_named_and_each_uri_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert names(folder / "deep" / "strange.xyz") == ["strange.xyz"]
    assert names(folder / "*.wav", folder / "b.wav", folder) == ["b.wav", "a.MP3", "c.flac", "d.opus"]
    assert sorted(names(f"{folder}/**/*.[fo]*")) == ["c.flac", "d.opus"]
    monkeypatch.chdir(folder)
    assert names("*.wav", "deep") == ["b.wav", "c.flac"]
    assert all(Path(row["uri"]).is_absolute() for row in listed("*.wav", "deep"))


def test_object_stores_are_listed_through_fsspec() -> None:
    store = fsspec.filesystem("memory")
    for name in ("a.wav", "deep/b.mp3", "notes.txt"):
        store.pipe(f"/listing-test/{name}", name.encode())
    rows = listed("memory://listing-test")
    assert [(row["uri"], row["size_bytes"]) for row in rows] == [
        ("memory:///listing-test/a.wav", 5),
        ("memory:///listing-test/deep/b.mp3", 10),
    ]
    assert names("memory://listing-test/*.txt") == ["notes.txt"]
    assert [row["uri"] for row in listed("https://example.org/talk?id=1")] == ["https://example.org/talk?id=1"]


def test_lists_bring_their_columns_and_name_files_beside_them(folder: Path) -> None:
    rows = [
        {"uri": "b.wav", "language": "de", "agent": "Ann"},
        {"uri": "https://example.org/x.mp3", "language": None, "agent": None},
    ]
    (folder / "list.jsonl").write_text("\n".join(json.dumps(row) for row in rows) + "\n\n")
    (folder / "list.csv").write_text("\ufeffuri,language,agent\nb.wav,de,Ann\nhttps://example.org/x.mp3,,\n")
    (folder / "list.tsv").write_text("uri\tlanguage\tagent\nb.wav\tde\tAnn\nhttps://example.org/x.mp3\t\t\n")
    pq.write_table(pa.Table.from_pylist(rows), folder / "list.parquet")
    for suffix in ("jsonl", "csv", "tsv", "parquet"):
        first, second = listed(folder / f"list.{suffix}")
        assert first["uri"] == str((folder / "b.wav").resolve())
        assert (first["language"], first["agent"], first["size_bytes"]) == ("de", "Ann", 5)
        assert second == {
            "uri": "https://example.org/x.mp3",
            "size_bytes": None,
            "modified_at": None,
            "language": None,
            "agent": None,
        }


def test_stretches_of_one_file_are_recordings_of_their_own(folder: Path) -> None:
    (folder / "list.csv").write_text("uri,start_ms,end_ms\nb.wav,0,500\nb.wav,500,900\nb.wav,500,900\n")
    rows = listed(folder / "list.csv", folder / "list.csv")
    assert [(row["start_ms"], row["end_ms"]) for row in rows] == [(0, 500), (500, 900)]


def test_a_doubled_audio_id_is_kept_to_be_refused_and_not_dropped(folder: Path) -> None:
    (folder / "list.csv").write_text("uri,audio_id\nb.wav,x\na.MP3,x\n")
    assert len(listed(folder / "list.csv")) == 2


def test_a_column_without_a_value_keeps_the_type_that_the_job_wants(folder: Path) -> None:
    (folder / "list.csv").write_text("uri,language,end_ms\nb.wav,,\n")
    table = list_recordings([str(folder / "list.csv")], FetchConfig())
    assert table.schema.field("language").type == pa.string()
    assert table.schema.field("end_ms").type == pa.int64()


BAD_LISTS = {
    "list.csv": ("path\nb.wav\n", r"list .*list.csv: column uri is missing or empty in row 1"),
    "commas.csv": ("uri,agent\nb.wav,Ann,Bob\n", r"list .*commas.csv: row 1 has more values than columns"),
    "list.jsonl": ('{"uri": "b.wav"}\n{"uri": \n', r"list .*list.jsonl cannot be read: "),
    "array.jsonl": ('["b.wav"]\n', r"list .*array.jsonl cannot be read: "),
    "list.parquet": ("uri\n", r"list .*list.parquet cannot be read: "),
    "latin.csv": (b"uri\nM\xfcller.wav\n", r"list .*latin.csv cannot be read: .*utf-8"),
    "times.csv": ("uri,start_ms\nb.wav,soon\n", r"column start_ms: .*'soon'"),
    "empty.csv": ("uri\n", r"empty.csv: no recording found"),
}


@pytest.mark.parametrize("name", BAD_LISTS)
def test_a_list_that_cannot_be_used_is_refused_in_words(folder: Path, name: str) -> None:
    content, message = BAD_LISTS[name]
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ManifestError, match=message):
        listed(folder / name)


def test_a_source_without_a_recording_is_refused(folder: Path) -> None:
    for source in (folder / "nothing", folder / "*.aac", folder / "missing.csv", "memory://nothing-here"):
        with pytest.raises(ManifestError, match=r"no recording found|no such local file"):
            listed(folder, source)
