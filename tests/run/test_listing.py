from __future__ import annotations

import datetime
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.config import FetchConfig
from transforms.errors import ManifestError
from transforms.run.listing import SUFFIXES, is_listed, list_recordings, look_at, peek


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


def test_one_file_is_looked_at_as_a_listing_would_show_it(folder: Path) -> None:
    for row in listed(folder):
        assert look_at(row["uri"], FetchConfig()) == row
    assert look_at(str(folder / "gone.wav"), FetchConfig()) is None
    store = fsspec.filesystem("memory")
    store.pipe("/look-test/a b.wav", b"12345")
    (row,) = listed("memory://look-test")
    assert look_at("memory://look-test/a b.wav", FetchConfig()) == row
    assert look_at("memory://look-test/gone.wav", FetchConfig()) is None
    at = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
    known = look_at("memory://look-test/a b.wav", FetchConfig(), (7, at))
    assert known == row | {"size_bytes": 7, "modified_at": at}


def test_a_name_tells_whether_a_folders_listing_has_it() -> None:
    assert is_listed("/deep/a.MP3")
    assert is_listed("/_a.wav")
    assert not any(map(is_listed, ("/a.txt", "/.a.wav", "/@eaDir/a.wav", "/.git/a.wav", "/a.parquet")))
    assert is_listed("/day=1/part-0.parquet", manifests=True)
    assert not is_listed("/a.wav", manifests=True)


def test_of_a_manifest_only_what_tells_its_length_is_read_and_half_of_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "manifest.parquet"
    pq.write_table(pa.table({"URI": ["a.wav"], "size_bytes": [5], "content": [b"x"], "agent": ["Ann"]}), path)
    store = fsspec.filesystem("memory")
    store.pipe("/peek-test/manifest.parquet", path.read_bytes())
    for place in (str(path), "memory://peek-test/manifest.parquet"):
        assert peek(place, FetchConfig()) == [{"uri": "a.wav", "size_bytes": 5}]
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ManifestError, match=r"manifest .*manifest.parquet cannot be read: .*; write it again"):
        peek(str(path), FetchConfig())


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
    "commas.csv": (
        "uri,agent\nb.wav,Ann,Bob\n",
        r"list .*commas.csv cannot be read: row 1 has more values than columns",
    ),
    "list.jsonl": ('{"uri": "b.wav"}\n{"uri": \n', r"list .*list.jsonl cannot be read: "),
    "array.jsonl": ('["b.wav"]\n', r"list .*array.jsonl cannot be read: "),
    "list.parquet": ("uri\n", r"list .*list.parquet cannot be read: "),
    "latin.csv": (b"uri\nM\xfcller.wav\n", r"list .*latin.csv cannot be read: .*utf-8"),
    "times.csv": ("uri,start_ms\nb.wav,soon\n", r"column start_ms: .*'soon'"),
    "swallow.csv": (
        'uri,title\na.wav,"Weird\nb.wav,plain\nc.wav,plain\n',
        r"swallow.csv cannot be read: .*end of data",
    ),
    "between.csv": (
        'uri,title\na.wav,"Weird\nb.wav,plain"\n',
        r"between.csv cannot be read: row 1 .* like a row: 'b.wav",
    ),
    "middle.csv": ('uri,title\na.wav,"Weird" title\n', r"middle.csv cannot be read: ',' expected after '\"'"),
    "cases.csv": ("uri,URI\na.wav,b.wav\n", r"cases.csv cannot be read: the columns 'uri' and 'URI' are one"),
    "twice.csv": (
        "uri,agent,agent\na.wav,Ann,Bob\n",
        r"twice.csv cannot be read: the header has the column 'agent' twice",
    ),
    "nameless.csv": ("uri,,agent,\na.wav,,Ann,Bob\n", r"nameless.csv cannot be read: row 1 has more values"),
    "latin.tsv": (b"uri\ttitle\na.wav\tM\xfcller\n", r"latin.tsv cannot be read: .*utf-8.*UTF-8"),
    "half.csv": ("uri,start_ms\nb.wav,0.5\n", r"column start_ms: '0.5' is no whole number"),
    "date.csv": ("uri,modified_at\nb.wav,1.5.2024\n", r"column modified_at: .*'1.5.2024'"),
    "epoch.jsonl": ('{"uri": "b.wav", "modified_at": 1714557600}', r"column modified_at: 1714557600 is no time"),
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


TAKEN: dict[str, tuple[str | bytes, list[dict[str, Any]]]] = {
    "quote.tsv": ('uri\ttitle\na\t"Weird\nb\t"x"\nc\t\n', [{"title": '"Weird'}, {"title": '"x"'}, {"title": None}]),
    "u2028.jsonl": ('{"uri": "a", "title": "one\u2028two\u0085three"}\r\n', [{"title": "one\u2028two\u0085three"}]),
    "bom.jsonl": ('\ufeff{"uri": "a"}\n\n', [{}]),
    "u2028.csv": ("uri,title\na,one\u2028two\n", [{"title": "one\u2028two"}]),
    "blanks.csv": ('uri, language , title\na, en, "b, c"\n', [{"language": "en", "title": "b, c"}]),
    "capitals.csv": (
        "URI,Language,Start_ms,Agent\na,en,10,Ann\n",
        [{"language": "en", "start_ms": 10, "Agent": "Ann"}],
    ),
    "capitals.jsonl": ('{"Uri": "a", "LANGUAGE": "en"}', [{"language": "en"}]),
    "semicolon.csv": ("uri;title\na;1,5\n", [{"title": "1,5"}]),
    "excel.csv": ("\ufeffsep=;\r\nuri;title;\r\na;x;\r\n;;\r\n\r\n", [{"title": "x"}]),
    "utf16.csv": ("uri,title\na,Müller\n".encode("utf-16"), [{"title": "Müller"}]),
    "utf16.tsv": ("uri\ttitle\r\na\tMüller\r\n".encode("utf-16"), [{"title": "Müller"}]),
    "mac.csv": ("uri,title\ra,x\rb,y\r", [{"title": "x"}, {"title": "y"}]),
    "mac.tsv": ("uri\ttitle\ra\tx\rb\ty", [{"title": "x"}, {"title": "y"}]),
    "floats.csv": ("uri,start_ms,end_ms\na,1000.0,\nb, 5 ,7\n", [{"start_ms": 1000, "end_ms": None}, {"start_ms": 5}]),
    "short.csv": ("uri,title\na\n", [{"title": None}]),
    "lines.csv": ('uri,title\na,"Hello there,\nand goodbye"\n', [{"title": "Hello there,\nand goodbye"}]),
    "long.csv": ("uri,text\na," + "word " * 50_000 + "\n", [{"text": "word " * 50_000}]),
}


@pytest.mark.parametrize("name", TAKEN)
def test_a_list_keeps_its_rows_however_it_was_written(tmp_path: Path, name: str) -> None:
    content, expected = TAKEN[name]
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    rows = listed(tmp_path / name)
    assert [Path(row["uri"]).name for row in rows] == ["a", "b", "c"][: len(expected)]
    assert [{key: row[key] for key in wanted} for row, wanted in zip(rows, expected, strict=True)] == expected


def test_times_of_change_may_be_text(tmp_path: Path) -> None:
    at = datetime.datetime(2024, 5, 1, 10, tzinfo=datetime.UTC)
    for written in ("2024-05-01T10:00:00Z", "2024-05-01 10:00:00", "2024-05-01T12:00:00+02:00", " 2024-05-01T10:00 "):
        (tmp_path / "list.csv").write_text(f"uri,modified_at,size_bytes\na.wav,{written},12\nb.wav,,\n")
        first, second = listed(tmp_path / "list.csv")
        assert (first["modified_at"], first["size_bytes"], second["modified_at"]) == (at, 12, None)


def test_names_may_hold_what_addresses_give_a_meaning(tmp_path: Path) -> None:
    names_there = ["a #1.wav", "b?.wav", "c 50%.wav", "d[1].wav"]
    for name in names_there:
        (tmp_path / name).write_bytes(b"x")
    assert names(tmp_path) == names_there
    for name in names_there:
        assert [row["size_bytes"] for row in listed(tmp_path / name)] == [1]
        assert names(f"file:{tmp_path / name}") == names(f"file://{tmp_path / name}") == [name]
    (tmp_path / "list #2.csv").write_text("uri\n" + "\n".join([*names_there, f"file:{tmp_path}/a #1.wav"]))
    rows = listed(f"file:{tmp_path}/list #2.csv")
    assert [row["size_bytes"] for row in rows] == [1] * 5
    store = fsspec.filesystem("memory")
    store.pipe("/odd-names/e?#1.wav", b"x")
    assert [row["uri"] for row in listed("memory://odd-names/e?#1.wav")] == ["memory:///odd-names/e?#1.wav"]


def test_folders_as_spark_writes_them_are_lists(tmp_path: Path) -> None:
    for folder in ("calls.parquet", "calls"):
        (tmp_path / folder / "_temporary").mkdir(parents=True)
        (tmp_path / folder / "_SUCCESS").touch()
        (tmp_path / folder / ".part-0.parquet.crc").write_bytes(b"x")
        parts = [
            {"uri": pa.array(["a.wav"]), "start_ms": pa.array([1], pa.int32())},
            {"uri": pa.array(["b.wav"]), "start_ms": pa.array([2], pa.int64()), "agent": pa.array(["Ann"])},
        ]
        for number, part in enumerate(parts):
            pq.write_table(pa.table(part), tmp_path / folder / f"part-{number}.snappy.parquet")
        rows = listed(tmp_path / folder)
        assert [(Path(row["uri"]), row["start_ms"], row["agent"]) for row in rows] == [
            (tmp_path / "a.wav", 1, None),
            (tmp_path / "b.wav", 2, "Ann"),
        ]
    (tmp_path / "texts.csv").mkdir()
    for number in range(2):
        (tmp_path / "texts.csv" / f"part-{number}.csv").write_text(f"uri,agent\n{number}.wav,Ann\n")
    assert names(tmp_path / "texts.csv") == ["0.wav", "1.wav"]
    pq.write_table(pa.table({"uri": pa.array([1])}), tmp_path / "calls" / "part-2.parquet")
    with pytest.raises(ManifestError, match=r"calls cannot be read: .*uri"):
        listed(tmp_path / "calls")


def test_a_partitioned_folder_brings_its_folders_as_columns(tmp_path: Path) -> None:
    for language in ("de", "en"):
        (tmp_path / "list.parquet" / f"language={language}").mkdir(parents=True)
        path = tmp_path / "list.parquet" / f"language={language}" / "part-0.parquet"
        pq.write_table(pa.table({"uri": [f"{language}.wav"]}), path)
    assert [(Path(row["uri"]).name, row["language"]) for row in listed(tmp_path / "list.parquet")] == [
        ("de.wav", "de"),
        ("en.wav", "en"),
    ]


def test_hidden_folders_are_not_walked_and_what_is_left_out_is_counted(folder: Path) -> None:
    hidden = [".Trashes/501/x.wav", ".git/lfs/y.wav", "deep/._c.flac", "$RECYCLE.BIN/z.wav", "__MACOSX/._a.wav"]
    for name in [*hidden, "deep/cover.JPG", "deep/list.csv", "README"]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    left_out: Counter[str] = Counter()
    table = list_recordings([str(folder)], FetchConfig(), left_out)
    assert sorted(Path(uri).name for uri in table["uri"].to_pylist()) == ["a.MP3", "b.wav", "c.flac", "d.opus"]
    assert left_out == {".txt": 1, ".xyz": 1, ".jpg": 1, ".csv": 1, "": 1}
    assert sorted(names(f"{folder}/**/*.wav")) == ["b.wav"]
    assert names(f"{folder}/.git/**/*.wav") == ["y.wav"]
    store = fsspec.filesystem("memory")
    for name in ("a.wav", ".Trash/b.wav", "c/._c.wav", "d.pdf"):
        store.pipe(f"/hidden-test/{name}", b"x")
    assert names("memory://hidden-test") == ["a.wav"]
    (folder / "only").mkdir()
    (folder / "only" / "a.pdf").touch()
    with pytest.raises(ManifestError, match=r"no recording found \(1 \.pdf left out\)"):
        listed(folder / "only")


def test_whatever_people_record_in_is_found(tmp_path: Path) -> None:
    kinds = "mpga m2ts mts weba 3g2 awb mxf bwf vob wave ogv m2t spx eac3 dts tta wtv rm f4v asf qt dss 3gpp".split()
    for kind in kinds:
        (tmp_path / f"a.{kind.upper()}").touch()
    assert len(names(tmp_path)) == len(kinds)
    assert {".mp3", ".wav", ".flac", ".m4a", ".opus"} <= SUFFIXES
