"""OpenAI's client against the server, with the deterministic engine: answers are the batch job's."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from tests.kit.finished import Finished
from tests.kit.lake import cut, engine_config, write_clip
from tests.live.made import MODEL, Served, serving, wait_until
from transforms.audio.front import Work


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving(engine_config()) as served:
        yield served


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of which the engine makes three chunks."""
    return write_clip(tmp_path_factory.mktemp("live") / "clip.wav", cut(20, 70))


def ask(served: Served, path: Path, **more: Any) -> Any:
    return served.client.audio.transcriptions.create(file=path, model=MODEL, **more)


def test_the_answer_is_what_the_job_has_put_into_the_tables(served: Served, finished: Finished) -> None:
    """Also of a recording in parts, and of one with a channel a speaker; not the times of what could not be read."""
    found = {Path(row["uri"]).name: row for row in finished.lake.rows("recordings") if row["uri"]}
    for name in ("clip_00.wav", "clip_03.wav", "long.wav", "call.wav", "silence.wav"):
        split = {"channels": "split"} if name == "call.wav" else {}
        answer = ask(
            served,
            finished.audio / name,
            response_format="verbose_json",
            timestamp_granularities=["word", "segment"],
            extra_body=split,
        )
        row = found[name]
        assert answer.text == (row["text"] or ""), name
        assert round(answer.duration * 1000) == row["duration_ms"]
        assert answer.flags == row["flags"]
        for table, parts in (("words", answer.words), ("segments", answer.segments)):
            rows = sorted(
                (one for one in finished.lake.rows(table) if one["audio_id"] == row["audio_id"]),
                key=lambda one: one[f"{table[:-1]}_index"],
            )
            assert len(parts) == len(rows), (name, table)
            for part, one in zip(parts, rows, strict=True):
                assert part.__dict__.get("word", part.__dict__.get("text")) == one.get("word", one.get("text"))
                assert (round(part.start * 1000), round(part.end * 1000)) == (one["start_ms"], one["end_ms"])
                assert part.confidence == one["confidence"]
                assert part.speaker == one["speaker"]


def test_each_form_of_answer_is_what_the_client_makes_of_it(served: Served, clip: Path) -> None:
    plain = ask(served, clip, include=["logprobs"])
    assert plain.text and plain.usage.seconds == 70
    assert [one.token for one in plain.logprobs] and all(-1 < one.logprob < 0 for one in plain.logprobs)
    assert bytes(map(int, plain.logprobs[0].bytes)).decode() == plain.logprobs[0].token
    verbose = ask(served, clip, response_format="verbose_json")
    assert (verbose.text, verbose.words, len(verbose.segments) > 3) == (plain.text, None, True)
    assert verbose.segments[0].compression_ratio < 2.4 and -1 < verbose.segments[0].avg_logprob < 0
    assert ask(served, clip, response_format="text") == plain.text + "\n"
    for form, clock in (("srt", r"00:00:0\d,\d{3} --> "), ("vtt", r"00:00:0\d\.\d{3} --> ")):
        lines = ask(served, clip, response_format=form)
        assert re.search(clock, lines)
        said = "".join(line for line in lines.splitlines() if not re.match(r"\d+$|\d\d:|WEBVTT", line))
        assert html.unescape("".join(said.split())) == "".join(plain.text.split())
    diarized = ask(served, clip, response_format="diarized_json")
    assert {segment.speaker for segment in diarized.segments} == {"unknown"}
    assert " ".join(segment.text for segment in diarized.segments) == plain.text


def test_a_stream_tells_the_text_in_its_order_and_ends_with_all_of_it(served: Served, clip: Path) -> None:
    events = list(ask(served, clip, stream=True, include=["logprobs"]))
    *deltas, done = events
    assert len(deltas) > 2 and {event.type for event in deltas} == {"transcript.text.delta"}
    assert (done.type, done.text) == ("transcript.text.done", ask(served, clip).text)
    assert "".join(event.delta for event in deltas) == done.text
    assert sum(len(event.logprobs) for event in deltas) == len(done.text.split())
    raw = httpx2.post(
        f"{served.url}/v1/audio/transcriptions",
        data={"model": MODEL, "stream": "true"},
        files={"file": clip.read_bytes()},
        timeout=60,
    )
    assert raw.headers["content-type"].startswith("text/event-stream")
    assert raw.text.endswith("data: [DONE]\n\n")


def test_a_stream_of_several_speakers_tells_their_turns(served: Served, tmp_path: Path) -> None:
    call = write_clip(tmp_path / "call.wav", cut(0, 12), cut(60, 12))
    *turns, done = ask(served, call, stream=True, response_format="diarized_json", extra_body={"channels": "split"})
    assert {turn.type for turn in turns} == {"transcript.text.segment"}
    assert {turn.speaker for turn in turns} == {"channel-0", "channel-1"}
    assert sorted(turn.start for turn in turns) == [turn.start for turn in turns]
    assert done.text.split() == " ".join(turn.text for turn in turns).split()


def test_what_a_request_sets_cuts_its_own_chunks(served: Served, clip: Path) -> None:
    usual = ask(served, clip)
    vad = {"type": "server_vad", "silence_duration_ms": 200, "prefix_padding_ms": 100, "threshold": 0.6}
    assert ask(served, clip, chunking_strategy=vad).text != usual.text
    assert ask(served, clip, chunking_strategy="auto").text == usual.text
    other = ask(served, clip, language="German", response_format="verbose_json")
    assert other.language == "german" and other.text != usual.text


def refusal(served: Served, **more: Any) -> openai.APIStatusError:
    with pytest.raises(openai.APIStatusError) as raised:
        served.client.audio.transcriptions.create(**{"file": b"RIFF", "model": MODEL, **more})
    return raised.value


@pytest.mark.parametrize(
    ("given", "status", "param", "sentence"),
    [
        ({"model": "whisper-9"}, 404, "model", "there is no model 'whisper-9' here, but deterministic"),
        ({"language": "Quatsch"}, 400, "language", "language is 'Quatsch', which is no language"),
        ({"response_format": "xml"}, 400, "response_format", "response_format is 'xml'; it is one of json, "),
        ({"temperature": 3}, 400, "temperature", "temperature is '3'; it is a number from 0 to 1"),
        ({"timestamp_granularities": ["word"]}, 400, "timestamp_granularities", "go with response_format=verbose_json"),
        ({"chunking_strategy": "often"}, 400, "chunking_strategy", "is 'auto', or an object of type server_vad with "),
        (
            {"chunking_strategy": {"type": "server_vad", "threshold": 3}},
            400,
            "chunking_strategy",
            "chunking_strategy cannot be used: ",
        ),
        ({"known_speaker_names": ["Ann"]}, 400, "known_speaker_names", "speakers are known by their channels only"),
        ({"extra_body": {"colour": "red"}}, 400, "colour", "there is no field colour"),
        ({"file": ("notes.mp3", b"This is no recording.")}, 400, "file", "notes.mp3"),
        ({"file": ("empty.wav", b"")}, 400, "file", "empty.wav"),
    ],
)
def test_what_cannot_be_done_is_told_in_a_sentence(
    served: Served, given: dict[str, Any], status: int, param: str, sentence: str
) -> None:
    error = refusal(served, **given)
    assert (error.status_code, error.param) == (status, param)
    assert sentence in error.message
    assert error.type == "invalid_request_error"
    assert str(served.desk.folder) not in error.message


def test_a_form_without_a_file_and_a_body_that_is_none_are_refused(served: Served) -> None:
    url = f"{served.url}/v1/audio/transcriptions"
    for request in ({"data": {"model": MODEL}}, {"content": b"x" * 100}, {"json": {"model": MODEL}}):
        answer = httpx2.post(url, **request)  # type: ignore[arg-type]
        assert answer.status_code == 400
        assert answer.json()["error"]["message"]


def test_a_file_that_cannot_be_read_ends_its_stream_with_an_error(served: Served) -> None:
    with pytest.raises(openai.APIError, match=r"notes\.mp3"):
        list(ask(served, ("notes.mp3", b"This is no recording."), stream=True))  # type: ignore[arg-type]


def test_models_are_listed_and_shown(served: Served) -> None:
    (model,) = served.client.models.list().data
    assert served.client.models.retrieve(MODEL).id == model.id == MODEL
    with pytest.raises(openai.NotFoundError):
        served.client.models.retrieve("other")
    with pytest.raises(openai.NotFoundError):
        served.client.get("/nowhere", cast_to=object)
    assert httpx2.get(f"{served.url}/healthz").text == "ready\n"


def test_many_at_once_get_an_answer_each_and_leave_nothing_behind(served: Served, tmp_path: Path) -> None:
    paths = [write_clip(tmp_path / f"{index}.wav", cut(index * 5, 3 + index % 9)) for index in range(40)]
    alone = {path: ask(served, path).text for path in paths[::8]}
    with ThreadPoolExecutor(20) as pool:
        together = dict(zip(paths, pool.map(lambda path: ask(served, path).text, paths), strict=True))
    assert {path: together[path] for path in alone} == alone
    assert len(set(together.values())) == len(paths)
    assert served.desk.service.orders == 0
    assert not list(served.desk.folder.iterdir())


def test_a_client_that_vanishes_costs_nothing_more(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "long.wav", cut(0, 300))
    with serving(engine_config("batching.max_padded_audio_s=30", delay_s=0.3)) as served:
        with pytest.raises(openai.APITimeoutError):
            ask(served, clip, timeout=1.0)
        for number in range(2):
            if number:
                with ask(served, clip, stream=True) as stream:
                    assert next(iter(stream)).delta
            wait_until(lambda: served.desk.service.orders == 0)
            wait_until(lambda: not list(served.desk.folder.iterdir()))
        assert served.desk.service.waiting_s == 0


def test_all_parts_of_a_recording_are_waited_for_whichever_ends_first(tmp_path: Path) -> None:
    """Longer chunks are read again by halves here, so that the last part, which is short, is read before others."""
    clip = write_clip(tmp_path / "long.wav", cut(20, 107))
    config = engine_config("packing.max_chunk_s=10", loop_over_s=5.0, delay_s=0.2)
    with serving(config) as served:
        for _ in range(3):
            rows: list[Any] = []
            work = Work("a", "", "", str(clip), None, "en", "given", None, "mix", 0, None, {})
            served.desk.service.begin(work, config, rows.append)
            wait_until(lambda: None in rows)  # noqa: B023
            *rows, last = rows
            assert last is None
            closings = [row["closing"] for row in rows if row["closing"]]
            assert len(closings) > 3
            assert sum(closing["chunk_count"] for closing in closings) == len(rows) - len(closings)


def test_a_recording_in_parts_is_withdrawn_between_them(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "long.wav", cut(0, 120))
    config = engine_config(delay_s=0.5)
    with serving(config) as served:
        service = served.desk.service
        work = Work("a", "", "", str(clip), None, "en", "given", None, "mix", 0, None, {})
        order = service.begin(work, config, lambda delivery: None)
        wait_until(lambda: bool(order.in_hand_s))
        service.withdraw(order)  # before the first part is closed
        wait_until(lambda: service.orders == 0)


def test_a_body_that_is_too_large_is_refused(tmp_path: Path) -> None:
    with serving(engine_config("serve.max_upload_mib=1")) as served:
        error = refusal(served, file=bytes(2 << 20))
        assert error.status_code == 413
        assert "larger than 1 MiB" in error.message

        def unstated() -> Iterator[bytes]:
            yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
            for _ in range(3):
                yield bytes(1 << 20)

        answer = httpx2.post(
            f"{served.url}/v1/audio/transcriptions",
            content=unstated(),
            headers={"content-type": "multipart/form-data; boundary=x"},
        )
        assert answer.status_code == 413
        assert not list(served.desk.folder.iterdir())


def test_with_too_much_to_do_others_are_told_when_to_come_again(clip: Path) -> None:
    config = engine_config("serve.max_requests=1", "serve.retry_after_s=7", delay_s=2)
    with serving(config) as served, ThreadPoolExecutor(1) as pool:
        first = pool.submit(ask, served, clip)
        wait_until(lambda: served.desk.service.orders == 1)
        error = refusal(served)
        assert isinstance(error, openai.RateLimitError)
        assert error.response.headers["retry-after"] == "7"
        assert first.result().text


def test_an_engine_that_dies_is_told_and_loaded_again(
    tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transforms.live.service._LOADED_AGAIN_S", 0.5)
    with serving(engine_config(lose_once=tmp_path / "lost")) as served:
        error = refusal(served, file=clip)
        assert (error.status_code, error.code) == (503, "engine_lost")
        assert httpx2.get(f"{served.url}/healthz").status_code == 503
        assert refusal(served, file=clip).response.headers["retry-after"] == "5"
        wait_until(lambda: served.desk.service.ready)
        assert ask(served, clip).text


def test_one_chunk_that_cannot_be_read_is_flagged_in_the_others_text(clip: Path) -> None:
    with serving(engine_config()) as served:
        first, *_ = ask(served, clip).text.split()
    with serving(engine_config(raise_on=first)) as served:
        answer = ask(served, clip, response_format="verbose_json")
    assert answer.flags == ["incomplete"]
    assert answer.text
