from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import transforms.recognition.task
from schemas.config import Config
from schemas.tables import CHUNKS, to_batch
from tests.kit.objects import in_memory
from tests.kit.reader import Reader, read
from tests.kit.sounds import noise, written
from tests.kit.works import heard, work, work_row
from transforms.audio.front import Chunk
from transforms.engines import AlignmentRequest, EngineLost, Hypothesis, Utterance
from transforms.errors import MachineError
from transforms.recognition.report import TaskReport
from transforms.recognition.rows import WORK, TaskSpec
from transforms.recognition.task import recognize_partition
from transforms.text.tokens import WordTime, WordTimes

_NAMES = [
    "interview_clip.wav",
    "meeting_note.flac",
    "support_call_stereo.flac",
    "silence.wav",
    "voice_memo.m4a",
    "damaged.mp3",
]


def _task(engine: Reader | None = None, aligners: Any = (("recognizer", None),), **sections: Any) -> TaskSpec:
    config = Config.model_validate({"packing": {"max_chunk_s": 6}, "retry": {"missed_speech_s": 60}, **sections})
    return TaskSpec(config, engine or Reader(), aligners, "tests", "model-1", "run-1")


def _run(
    rows: Sequence[dict[str, Any]], task: TaskSpec, rows_a_batch: int = 2
) -> tuple[list[dict[str, Any]], TaskReport]:
    """The rows of the table chunks, and the report of the task."""
    batches = [to_batch(rows[at : at + rows_a_batch], WORK) for at in range(0, len(rows), rows_a_batch)]
    reports: list[TaskReport] = []
    found = list(recognize_partition(batches, task, reports.append))
    assert all(batch.schema.equals(CHUNKS.arrow) for batch in found)
    assert len(reports) == 1
    return [row for batch in found for row in batch.to_pylist(maps_as_pydicts="lossy")], reports[0]


def _rows(examples: Path, names: Sequence[str] = _NAMES) -> list[dict[str, Any]]:
    return [
        work_row(examples / name, audio_id=name, channels="split", metadata=[("who", name)], context="names")
        for name in names
    ]


def _by_recording(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Without the time of day, in order of chunks; the closing row first."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: (row["channel"] or 0, row["chunk_index"])):
        found.setdefault(row["audio_id"], []).append({k: v for k, v in row.items() if k != "created_at"})
    return found


def test_each_recording_has_its_chunks_and_one_closing_row(examples: Path) -> None:
    rows, report = _run(_rows(examples), _task())
    found = _by_recording(rows)
    assert set(found) == set(_NAMES)
    for name, (closing, *chunks) in found.items():
        assert closing["chunk_index"] == -1
        assert (closing["run_id"], closing["run_key"]) == ("run-1", "r")
        told = closing["closing"]
        assert (told["metadata"], told["engine"], told["model"]) == ({"who": name}, "tests", "model-1")
        assert told["chunk_count"] == len(chunks)
        assert all(chunk["closing"] is None for chunk in chunks)
        assert (closing["error"] is not None) == (name == "damaged.mp3")
    assert (report.recordings, report.failed) == (6, 1)
    assert report.audio_ms == sum(closing["closing"]["duration_ms"] or 0 for closing, *_ in found.values())
    assert 0 < report.batch_audio_s <= report.padded_audio_s
    assert {"load", "recognize", "align", "wait", "fetch", "decode", "vad"} == set(report.seconds)


def test_a_chunk_row_says_what_the_engine_read_in_its_samples(examples: Path) -> None:
    name = "support_call_stereo.flac"
    rows, _ = _run(_rows(examples, [name]), _task())
    (_, *found) = _by_recording(rows)[name]
    chunks, _ = heard(work(examples / name, channels="split"), _task().config)
    expected = {(chunk.channel, chunk.chunk_index): chunk for chunk in chunks}
    assert {(row["channel"], row["chunk_index"]) for row in found} == set(expected)
    for row in found:
        chunk = expected[row["channel"], row["chunk_index"]]
        assert (row["start_ms"], row["end_ms"]) == (chunk.start_ms, chunk.end_ms)
        assert row["text"] == read(chunk.samples)
        assert (row["language"], row["language_source"], row["aligner"]) == ("fr", "detected", "recognizer")
        assert all(row["text"][word["char_start"] : word["char_end"]] == word["word"] for word in row["words"])
        assert [word["word"] for word in row["words"]] == row["text"].split()
        for index, word in enumerate(row["words"]):
            assert word["start_ms"] == chunk.start_ms + 500 * index
            assert word["start_ms"] < word["end_ms"] <= chunk.end_ms


@pytest.mark.parametrize(
    "batching",
    [
        {"max_padded_audio_s": 0.5, "front_threads": 1},
        {"max_padded_audio_s": 20, "lookahead_audio_s": 5, "front_threads": 4, "prefetch_mib": 1},
        {"max_padded_audio_s": 1000},
    ],
)
def test_rows_do_not_depend_on_order_company_or_batches(examples: Path, batching: dict[str, float]) -> None:
    together = _by_recording(_run(_rows(examples), _task())[0])
    shuffled = _rows(examples)
    random.Random(5).shuffle(shuffled)
    assert _by_recording(_run(shuffled, _task(batching=batching), rows_a_batch=4)[0]) == together
    for name in ("meeting_note.flac", "damaged.mp3"):
        assert _by_recording(_run(_rows(examples, [name]), _task(batching=batching))[0]) == {name: together[name]}


def test_no_work_is_no_rows_and_a_report() -> None:
    rows, report = _run([], _task())
    assert (rows, report.recordings, report.batches) == ([], 0, 0)


def test_rows_come_in_batches_of_bounded_size(examples: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = _by_recording(_run(_rows(examples), _task())[0])
    monkeypatch.setattr(transforms.recognition.task, "_ROWS_A_BATCH", 3)
    task = _task(batching={"max_padded_audio_s": 6})
    batches = list(recognize_partition([to_batch(_rows(examples), WORK)], task, lambda _: None))
    assert len(batches) > 3
    assert _by_recording([row for batch in batches for row in batch.to_pylist(maps_as_pydicts="lossy")]) == whole


@pytest.mark.parametrize("index", [1, 2])
def test_a_chunk_that_the_engine_cannot_read_costs_only_itself(examples: Path, index: int) -> None:
    """Also the first one, by which the language was to be told."""
    good = _by_recording(_run(_rows(examples), _task())[0])
    victim = good["voice_memo.m4a"][index]
    found = _by_recording(_run(_rows(examples), _task(Reader(bad=victim["text"])))[0])
    row = found["voice_memo.m4a"][index]
    assert (row["text"], row["words"], row["flags"]) == (None, None, ["incomplete"])
    assert (row["error"]["stage"], row["error"]["kind"]) == ("recognize", "ValueError")
    assert found["voice_memo.m4a"][0]["error"] is None
    del found["voice_memo.m4a"][index], good["voice_memo.m4a"][index]
    assert found == good


class Forgetful:
    """An aligner that answers for one text too few."""

    languages = None

    key: Mapping[str, Any] = {"name": "forgetful"}

    def load(self) -> Forgetful:
        return self

    def align(self, requests: Sequence[AlignmentRequest]) -> list[WordTimes | None]:
        return [None] * (len(requests) - 1)


class Choking(Forgetful):
    """An aligner that raises over one text, or over all."""

    def __init__(self, over: str = "") -> None:
        self._over = over

    def align(self, requests: Sequence[AlignmentRequest]) -> list[WordTimes | None]:
        if any(self._over in request.text for request in requests):
            raise KeyError("yen")
        return [[WordTime(0, 100)] * len(request.words) for request in requests]


def test_an_aligners_error_costs_the_times_of_its_chunk(examples: Path) -> None:
    rows = _rows(examples, ["interview_clip.wav", "voice_memo.m4a"])
    good = _by_recording(_run(rows, _task(aligners=(("choking", Choking("no such text")),)))[0])
    victim = good["voice_memo.m4a"][1]
    found = _by_recording(_run(rows, _task(aligners=(("choking", Choking(victim["text"])),)))[0])
    row = found["voice_memo.m4a"][1]
    assert (row["text"], row["flags"], row["aligner"]) == (victim["text"], ["unaligned"], None)
    assert (row["error"]["stage"], row["error"]["kind"]) == ("align", "KeyError")
    assert [word["word"] for word in row["words"]] == [word["word"] for word in victim["words"]]
    assert all(word["start_ms"] is None for word in row["words"])
    assert found["voice_memo.m4a"][0]["error"] is None
    del found["voice_memo.m4a"][1], good["voice_memo.m4a"][1]
    assert found == good


def test_an_aligner_that_fails_on_everything_is_the_machines_fault(examples: Path) -> None:
    rows = _rows(examples, ["interview_clip.wav", "voice_memo.m4a", "meeting_note.flac"])
    task = _task(aligners=(("choking", Choking()), ("recognizer", None)), run={"alike_failures": 3})
    with pytest.raises(MachineError, match="3 recordings in a row failed at align"):
        _run(rows, task)


def test_what_is_wrong_with_the_machine_is_raised(examples: Path) -> None:
    rows = _rows(examples)
    with pytest.raises(EngineLost):
        _run(rows, _task(Reader(lost=True)))
    with pytest.raises(RuntimeError, match="it must return one an item"):
        _run(rows, _task(Reader(short_by=1)))
    with pytest.raises(RuntimeError, match="aligner 'bad' was given"):
        _run(rows, _task(aligners=(("bad", Forgetful()),)))

    def breaking() -> Iterator[pa.RecordBatch]:
        yield to_batch(rows[:1], WORK)
        raise OSError("the JVM is gone")

    with pytest.raises(OSError, match="the JVM is gone"):
        list(recognize_partition(breaking(), _task(), lambda _: None))


class Cramped(Reader):
    """Has memory for two chunks at once."""

    def recognize(self, utterances: Sequence[Utterance]) -> list[Hypothesis]:
        if len(utterances) > 2:
            self.asked.append("too many")
            raise MemoryError
        return super().recognize(utterances)


def test_the_next_task_of_a_process_does_not_run_out_of_memory_again(examples: Path) -> None:
    rows, engine = _rows(examples, ["meeting_note.flac"]), Cramped(number=30)
    batching = {"max_padded_audio_s": 24}  # four chunks of at most 6 s
    first, _ = _run(rows, _task(engine, batching=batching))
    assert "too many" in engine.asked
    engine.asked.clear()
    again, _ = _run(rows, _task(engine, batching=batching))
    assert "too many" not in engine.asked
    assert _by_recording(again) == _by_recording(first) == _by_recording(_run(rows, _task())[0])


def test_doubtful_chunks_are_flagged(examples: Path) -> None:
    rows = _rows(examples, ["interview_clip.wav"])
    (_, *chunks) = _by_recording(
        _run(rows, _task(retry={"low_confidence": 1.0, "missed_speech_s": 60}, aligners=()))[0]
    )["interview_clip.wav"]
    assert all(row["flags"] == ["low_confidence", "unaligned"] for row in chunks)
    assert all(row["aligner"] is None and row["words"][0]["start_ms"] is None for row in chunks)
    found, report = _run(rows, _task(Reader(loops_from_s=3)))
    (_, *chunks) = _by_recording(found)["interview_clip.wav"]
    long = [row for row in chunks if row["end_ms"] - row["start_ms"] > 3000]
    assert report.second_tries == len(long) > 0
    assert all("again" not in row["text"] or row["flags"] == ["repetition"] for row in chunks)


def test_the_language_is_detected_once_a_recording(examples: Path) -> None:
    engine = Reader(number=1, clear_from_s=4)
    rows = _rows(examples, ["meeting_note.flac"])
    (closing, *chunks) = _by_recording(_run(rows, _task(engine))[0])["meeting_note.flac"]
    assert {(row["language"], row["language_source"]) for row in chunks} == {("fr", "detected")}
    assert closing["closing"]["language"] == "fr"
    clear = next(index for index, row in enumerate(chunks) if row["end_ms"] - row["start_ms"] >= 4000)
    assert engine.asked[: clear + 1] == [None] * (clear + 1)
    assert engine.asked[clear + 1 :] == ["fr"] * (len(chunks) - 1)
    assert clear > 0
    given = [rows[0] | {"language": "sv", "language_source": "given"}]
    (closing, *chunks) = _by_recording(_run(given, _task(Reader(number=2, clear_from_s=4)))[0])["meeting_note.flac"]
    assert {(row["language"], row["language_source"]) for row in chunks} == {("sv", "given")}


@pytest.mark.parametrize("language", [None, "en"])
def test_the_engine_starts_before_a_long_recording_was_read(language: str | None) -> None:
    """Also while the language is not known, and chunks wait for it: memory is bounded by the look-ahead."""
    engine = Reader(number=3 if language else 4)
    before = len(in_memory(Chunk))  # of other tests, in this process
    endless = {"threshold": 1e-9, "end_threshold": 1e-9, "pad_ms": 0}
    batching = {"lookahead_audio_s": 12, "max_padded_audio_s": 12, "prefetch_mib": 1, "front_threads": 1}
    task = _task(engine, vad=endless, packing={"max_chunk_s": 3}, audio={"block_s": 3}, batching=batching)
    rows, _ = _run([work_row(written(noise(240), 16_000), language=language)], task)
    assert len(rows) > 80
    # Looked ahead 5, prefetched 6, in the engine's hands two batches of 4, one of 4 answered, and what threads hold.
    assert max(engine.chunks) - before < 5 + 6 + 3 * 4 + 6


def test_reports_add_up() -> None:
    first, second = TaskReport(1, 0, 500, 2, 1.0, 2.0, 1, 0), TaskReport(2, 1, 700, 1, 0.5, 0.5, 0, 1)
    first.seconds.update(decode=1.0)
    second.seconds.update(decode=0.5, vad=2.0)
    total = first + second
    assert (total.recordings, total.failed, total.audio_ms, total.batches, total.retries) == (3, 1, 1200, 3, 1)
    assert total.seconds == {"decode": 1.5, "vad": 2.0}


class _Modest(Reader):
    languages = frozenset({"en", "fr"})


def test_a_language_that_the_engine_does_not_know_costs_its_row_before_anything_is_read(examples: Path) -> None:
    """Not the batch: that would be recognized one by one."""
    names = ["interview_clip.wav", "meeting_note.flac"]
    given = [work_row(examples / name, audio_id=name, language="en") for name in names]
    foreign = work_row(examples / "no such file.wav", audio_id="foreign", language="tlh")
    engine = _Modest(number=41)
    rows, report = _run([*given, foreign], _task(engine))
    found = _by_recording(rows)
    (closing,) = found["foreign"]
    assert (closing["error"]["stage"], closing["error"]["kind"]) == ("recognize", "language")
    assert "'tlh'" in closing["error"]["message"] and "no such file.wav" in closing["error"]["message"]
    assert not any(row["error"] for name in names for row in found[name])
    assert (report.recordings, report.failed, report.batches) == (3, 1, len(engine.chunks))


class _Pacing:
    """A recognizer and an aligner that goes on only when the recognizer has begun its next batch."""

    languages = None
    key: Mapping[str, Any] = {"name": "pacing"}

    def __init__(self) -> None:
        self.begun, self.timed = threading.Semaphore(0), 0

    def load(self) -> _Pacing:
        return self

    def recognize(self, utterances: Sequence[Utterance]) -> list[Hypothesis]:
        self.begun.release()
        return Reader().recognize(utterances)

    def align(self, requests: Sequence[AlignmentRequest]) -> list[WordTimes | None]:
        if not self.timed:
            assert self.begun.acquire(timeout=60)
            assert self.begun.acquire(timeout=60), "the recognizer waited for the aligner"
        self.timed += len(requests)
        return [[WordTime(0, 100)] * len(request.words) for request in requests]


def test_the_recognizer_goes_on_while_words_are_timed(examples: Path) -> None:
    both = _Pacing()
    rows = [work_row(examples / "meeting_note.flac", language="en")]
    found, report = _run(rows, _task(both, (("both", both),), batching={"max_padded_audio_s": 6}))  # type: ignore[arg-type]
    assert not any(row["error"] for row in found)
    assert both.timed == len(found) - 1 > 2
    assert report.batches > 2
