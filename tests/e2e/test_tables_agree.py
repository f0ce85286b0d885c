"""Invariant 6, and what the tables say of a run: text, words, times, channels, parts and metadata of the rich lake."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.config import load_config
from schemas.tables import ALL, RECORDINGS, SEGMENTS, WORDS
from tests.kit.finished import Finished
from tests.kit.lake import ENGINE
from transforms.audio.front import Chunk, Closing, StageClock, Work, front
from transforms.lake.tables import Tables

_JOINED = "{words} w JOIN {recordings} r ON w.audio_id = r.audio_id AND w.take_id = r.take_id"
WRONG = {
    "a word differs from its text": f"SELECT * FROM {_JOINED} WHERE NOT substring(r.text, char_start + 1, char_end - char_start) <=> word",
    "a word ends before it starts": "SELECT * FROM {words} WHERE end_ms <= start_ms OR char_end <= char_start",
    "a word lies outside": f"SELECT * FROM {_JOINED} WHERE start_ms < 0 OR end_ms > r.duration_ms",
    "words of a channel overlap or run backwards": """
        SELECT * FROM (SELECT *, lag(end_ms) IGNORE NULLS OVER (PARTITION BY audio_id, channel ORDER BY word_index) before FROM {words})
        WHERE start_ms < before""",
    "words overlap in the text": """
        SELECT * FROM (SELECT *, lag(char_end) OVER (PARTITION BY audio_id ORDER BY word_index) before FROM {words})
        WHERE char_start < before""",
    "a segment is no part of the text": """
        SELECT * FROM {segments} s JOIN {recordings} r USING (audio_id) WHERE NOT contains(r.text, s.text)""",
    "a segment and its words disagree": """
        SELECT * FROM {words} w LEFT JOIN {segments} s USING (audio_id, take_id, segment_index)
        WHERE s.audio_id IS NULL OR NOT contains(s.text, w.word) OR w.start_ms < s.start_ms OR w.end_ms > s.end_ms
           OR NOT w.channel <=> s.channel OR NOT w.speaker <=> s.speaker""",
    "the count of words is wrong": """
        SELECT r.audio_id FROM {recordings} r LEFT JOIN {words} w USING (audio_id, take_id) WHERE r.status <> 'failed'
        GROUP BY r.audio_id, r.word_count HAVING count(w.word) <> r.word_count""",
}


@pytest.mark.parametrize("fault", WRONG)
def test_text_words_and_segments_agree(finished: Finished, fault: str) -> None:
    tables = Tables(finished.lake.spark, str(finished.lake.root))
    names = {table.name: tables.identifier(table) for table in (RECORDINGS, SEGMENTS, WORDS)}
    assert [row.asDict() for row in tables.spark.sql(WRONG[fault].format(**names)).limit(3).collect()] == []


def test_the_words_hold_what_makes_offsets_hard(finished: Finished) -> None:
    """Else the test above would prove little: characters beyond the basic plane, and scripts without spaces."""
    words = "".join(row["word"] for row in finished.lake.rows("words"))
    assert "🎻" in words
    assert "湖" in words
    assert {"zh", "ja", "de"} & {row["language"] for row in finished.lake.rows("recordings")}


def test_every_row_of_the_manifest_has_its_row_in_recordings(finished: Finished) -> None:
    found = finished.lake.by_name("recordings")
    assert len(found) == len(finished.lake.rows("recordings")) == len(finished.manifest)
    status = {name: row["status"] for name, row in found.items()}
    assert status.pop("silence.wav") == "no_speech"
    assert {status.pop("text.mp3"), status.pop("missing.wav")} == {"failed"}
    assert set(status.values()) == {"ok"}


def test_keys_are_unique_and_columns_have_comments(finished: Finished) -> None:
    tables = Tables(finished.lake.spark, str(finished.lake.root))
    for table in ALL:
        keys = [tuple(row[name] for name in table.key) for row in finished.lake.rows(table.name)]
        assert len(keys) == len(set(keys)), table.name
        comments = {field.name: field.metadata.get("comment") for field in tables.read(table).schema.fields}
        assert comments == {name: comment for name, _, comment in table.columns}


def test_unknown_values_are_null(finished: Finished) -> None:
    found = finished.lake.by_name("recordings")
    quiet, broken = found["silence.wav"], found["text.mp3"]
    assert (quiet["text"], quiet["language"], quiet["confidence"], quiet["word_count"]) == (None, None, None, 0)
    assert (quiet["duration_ms"], quiet["speech_ms"]) == (3000, 0)
    assert (broken["text"], broken["duration_ms"], broken["speech_ms"], broken["word_count"]) == (
        None,
        None,
        None,
        None,
    )


def test_the_quality_of_the_audio_is_told_of_whole_recordings(finished: Finished) -> None:
    found = finished.lake.by_name("recordings")
    for name in ("clip_00.wav", "long.wav", "call.wav", "as-bytes"):
        assert -30 < found[name]["loudness_lufs"] < -15, name
        assert found[name]["bandwidth_hz"] in range(6000, 8001), name
        assert found[name]["clipped_share"] == 0, name
        assert abs(found[name]["dc_offset"]) < 0.001, name
    assert (found["silence.wav"]["digital_silence_share"], found["silence.wav"]["loudness_lufs"]) == (1, None)
    assert {found["text.mp3"][name] for name in ("loudness_lufs", "digital_silence_share", "dc_offset")} == {None}
    long = found["long.wav"]["audio_id"]
    closings = [row["closing"] for row in finished.lake.rows("chunks") if row["audio_id"] == long and row["closing"]]
    assert len(closings) > 2
    assert sum(closing["quality"]["pieces"] for closing in closings) == 1000


def test_other_columns_of_the_manifest_become_metadata(finished: Finished) -> None:
    found = finished.lake.by_name("recordings")
    assert found["clip_00.wav"]["metadata"] == {"speaker_name": "Ann", "score": "3", "tags": '["a","b"]'}
    assert not found["clip_01.wav"]["metadata"]


def test_content_bytes_are_read_like_the_file_at_a_uri(finished: Finished) -> None:
    found = finished.lake.by_name("recordings")
    as_bytes, as_file = found["as-bytes"], found["clip_01.wav"]
    assert as_bytes["text"] == as_file["text"]
    assert as_bytes["uri"] is None


def test_split_channels_are_transcribed_apart_and_read_by_turns(finished: Finished) -> None:
    call = finished.lake.by_name("recordings")["call.wav"]
    segments = sorted(
        (row for row in finished.lake.rows("segments") if row["audio_id"] == call["audio_id"]),
        key=lambda s: s["segment_index"],
    )
    assert {(row["channel"], row["speaker"]) for row in segments} == {(0, "channel-0"), (1, "channel-1")}
    assert [row["start_ms"] for row in segments] == sorted(row["start_ms"] for row in segments)
    turns = sum(a["channel"] != b["channel"] for a, b in zip(segments, segments[1:], strict=False))
    assert call["text"].count("\n") == turns > 2


def test_a_long_recording_is_cut_into_parts_without_a_gap_or_an_overlap(finished: Finished) -> None:
    long = finished.lake.by_name("recordings")["long.wav"]
    chunks = [row for row in finished.lake.rows("chunks") if row["audio_id"] == long["audio_id"] and not row["closing"]]
    spans = sorted((row["start_ms"], row["end_ms"], row["part_index"]) for row in chunks)
    assert {part for *_, part in spans} == {0, 1, 2, 3}
    assert [part for *_, part in spans] == sorted(part for *_, part in spans)
    assert all(before[1] <= after[0] for before, after in zip(spans, spans[1:], strict=False))
    whole = _front_end(finished.audio / "long.wav")
    assert long["duration_ms"] == 100_000
    assert abs(long["speech_ms"] - whole.speech_ms) <= 150 * spans[-1][2], "VAD hears a moment less at each cut"


def _front_end(path: Path) -> Closing:
    """What the front end finds in the recording as one part."""
    config = load_config(None, [*ENGINE, "packing.part_minutes=60"])
    work = Work("a", "k", "s", str(path), None, None, None, None, "mix", 0, None, {})
    events = list(front(work, config, StageClock()))
    assert all(isinstance(event, Chunk) for event in events[:-1])
    assert isinstance(events[-1], Closing)
    return events[-1]


def test_the_run_is_accounted_for(finished: Finished) -> None:
    (run,) = finished.lake.rows("runs")
    assert (run["status"], run["recordings"], run["failed"]) == ("ok", len(finished.manifest), 2)
    recordings = finished.lake.rows("recordings")
    assert run["audio_hours"] == pytest.approx(sum(row["duration_ms"] or 0 for row in recordings) / 3.6e6)
    assert run["batches"] > 0
    assert 0 < run["batch_fill"] <= 1
    assert {"fetch", "decode", "vad", "recognize"} <= run["stage_seconds"].keys()
    assert "part_minutes: 0.5" in run["config"]
