"""Each format as a program that we did not write reads it, with plain and with hostile text."""

from __future__ import annotations

import io
import json
from itertools import pairwise
from pathlib import Path

import av
import pysubs2
import pytest
import webvtt
from praatio import textgrid as praat

from schemas.config import Config
from tests.exports.made import HOSTILE, recording, row, segment
from transforms.errors import ExportError
from transforms.exports import FORMATS
from transforms.exports.recording import Recording, from_row

CONFIG = Config()
CALL = recording(
    segment("Hello, this is Ann.", 0, speaker="channel-0", channel=0),
    segment("Hi Ann.", 1_400, speaker="channel-1", channel=1, untimed=[0], confidence=None),
    segment("How can I help?", 2_500, speaker="channel-0", channel=0),
)
HOSTILE_CALL = recording(
    segment(HOSTILE, 0, speaker='<i>"A"\n--> & B'),
    segment("2 {b}", 9_000, speaker="</v>"),
    uri='/calls/"a" <b>&\n.wav',
)
SILENCE = recording()


def rendered(name: str, one: Recording) -> str:
    return FORMATS[name].render(one, CONFIG)


def said(one: Recording) -> list[str]:
    return [word for segment in one.segments for word in segment.text.split()]


@pytest.mark.parametrize("one", [CALL, HOSTILE_CALL, SILENCE])
def test_srt_is_read_by_pysubs2_with_all_its_words(one: Recording) -> None:
    read = pysubs2.SSAFile.from_string(rendered("srt", one), format_="srt")
    words = " ".join(event.plaintext for event in read).replace("\u2060", "").split()
    spelled = str.maketrans("{}", "()")
    assert words == [word.replace("-->", "->").translate(spelled) for word in said(one)]
    assert all(event.start < event.end for event in read)


def test_srt_has_the_times_and_lines_of_the_cues() -> None:
    assert rendered("srt", CALL) == (
        "1\n00:00:00,000 --> 00:00:01,260\nHello, this is Ann.\n\n"
        "2\n00:00:01,400 --> 00:00:02,400\nHi Ann.\n\n"
        "3\n00:00:02,500 --> 00:00:03,760\nHow can I help?\n\n"
    )
    assert rendered("srt", SILENCE) == "1\n00:00:00,000 --> 00:00:01,000\n\u00a0\n\n"


def test_srt_without_speech_is_a_file_that_ffmpeg_opens(tmp_path: Path) -> None:
    file = tmp_path / "silence.srt"
    file.write_text(rendered("srt", SILENCE), encoding="utf-8")
    with av.open(str(file)) as container:
        (stream,) = container.streams
        assert (stream.type, stream.codec_context.name) == ("subtitle", "srt")
    (shown,) = pysubs2.SSAFile.from_string(rendered("srt", SILENCE))
    assert (shown.start, shown.end, shown.text.strip()) == (0, 1000, "")


def test_lines_from_right_to_left_say_so() -> None:
    arabic = recording(segment("GPT قال نعم، ثم ذهب.", language="ar"))
    assert rendered("srt", arabic).split("\n")[2] == "\u202bGPT قال نعم، ثم ذهب.\u202c"
    assert webvtt.from_string(rendered("vtt", arabic))[0].text == "\u200fGPT قال نعم، ثم ذهب."
    for name in ("srt", "vtt"):
        assert not {"\u202b", "\u202c", "\u200f"} & set(rendered(name, recording(segment("He said نعم."))))


@pytest.mark.parametrize("one", [CALL, HOSTILE_CALL, SILENCE])
def test_vtt_is_read_by_webvtt_with_all_its_words_and_speakers(one: Recording) -> None:
    text = rendered("vtt", one)
    captions = list(webvtt.from_buffer(io.StringIO(text)))
    words = " ".join(caption.text for caption in captions)
    for escaped, mark in (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")):
        words = words.replace(escaped, mark)
    assert words.split() == said(one)
    assert text.startswith("WEBVTT\n")
    assert text.count("-->") == len(captions)
    if one is HOSTILE_CALL:
        assert "&lt;b&gt;&amp;amp;" in text
        assert text.count("<") == text.count("<v ")
    if one is CALL:
        assert [caption.voice for caption in captions] == ["channel-0", "channel-1", "channel-0"]


@pytest.mark.parametrize("one", [CALL, HOSTILE_CALL, SILENCE])
def test_textgrid_is_read_by_praatio_and_its_intervals_touch(one: Recording, tmp_path: Path) -> None:
    path = tmp_path / "a.TextGrid"
    path.write_text(rendered("textgrid", one), encoding="utf-8")
    grid = praat.openTextgrid(str(path), includeEmptyIntervals=True, reportingMode="error", duplicateNamesMode="error")
    assert grid.maxTimestamp == (one.duration_ms or 0) / 1000
    labels = []
    for name in grid.tierNames:
        intervals = grid.getTier(name).entries
        assert (intervals[0].start, intervals[-1].end) == (0, grid.maxTimestamp)
        assert all(a.end == b.start for a, b in pairwise(intervals))
        assert all(interval.start < interval.end for interval in intervals)
        labels += [interval.label for interval in intervals if interval.label and name.endswith("words")]
    assert sorted(" ".join(labels).replace('""', '"').split()) == sorted(said(one))
    if one is HOSTILE_CALL:
        assert 'text = """no"""\n' in path.read_text(encoding="utf-8")
    if one is CALL:
        assert grid.tierNames == (
            "channel-0 - words",
            "channel-0 - segments",
            "channel-1 - words",
            "channel-1 - segments",
        )


def test_textgrid_keeps_words_that_overlap_or_have_no_length(tmp_path: Path) -> None:
    first, second = segment("one two", 0, word_ms=500), segment("three", 900, word_ms=0)
    path = tmp_path / "a.TextGrid"
    path.write_text(rendered("textgrid", recording(first, second, duration_ms=None)), encoding="utf-8")
    grid = praat.openTextgrid(str(path), includeEmptyIntervals=False, reportingMode="error")
    assert [entry.label for entry in grid.getTier("words").entries] == ["one", "two three"]


def test_json_is_whispers_shape_in_seconds_and_null_for_unknown() -> None:
    read = json.loads(rendered("json", CALL))
    assert list(read)[:5] == ["text", "language", "confidence", "duration", "words"]
    assert (read["text"], read["language"], read["duration"]) == (CALL.text, "en", 4.26)
    assert read["words"][0] == {
        "word": "Hello,",
        "start": 0.0,
        "end": 0.3,
        "confidence": 0.9,
        "speaker": "channel-0",
    }
    assert read["words"][4] == {
        "word": "Hi",
        "start": None,
        "end": None,
        "confidence": None,
        "speaker": "channel-1",
    }
    assert [(part["id"], part["start"], part["text"]) for part in read["segments"]][1] == (1, 1.4, "Hi Ann.")
    silence = json.loads(rendered("json", SILENCE))
    assert (silence["text"], silence["language"], silence["confidence"], silence["words"]) == ("", None, None, [])


def test_json_lines_are_the_same_objects_on_a_line_each() -> None:
    _, line = FORMATS["json"].shard or ("", None)
    assert line is not None
    text = line(CALL, CONFIG) + line(HOSTILE_CALL, CONFIG)
    assert [json.loads(one) for one in text.split("\n") if one] == [
        json.loads(rendered("json", one)) for one in (CALL, HOSTILE_CALL)
    ]


def test_ctm_has_a_line_a_word_sorted_by_channel_and_time_and_times_for_all() -> None:
    lines = rendered("ctm", CALL).splitlines()
    assert lines[0] == "talk-abc 1 0.000 0.300 Hello, 0.900"
    assert lines[-2:] == ["talk-abc 2 1.400 0.320 Hi", "talk-abc 2 1.720 0.300 Ann."]
    assert all(len(line.split()) in (5, 6) for line in rendered("ctm", HOSTILE_CALL).splitlines())
    assert rendered("ctm", SILENCE) == ""


def test_rttm_has_a_line_a_stretch_and_a_name_for_whom_nobody_knows() -> None:
    near, far = segment("one two", 0), segment("three", 800)
    assert rendered("rttm", recording(near, far, segment("four", 2_000))) == (
        "SPEAKER talk-abc 1 0.000 1.100 <NA> <NA> unknown <NA> <NA>\n"
        "SPEAKER talk-abc 1 2.000 0.300 <NA> <NA> unknown <NA> <NA>\n"
    )
    assert [line.split()[2:8:5] for line in rendered("rttm", CALL).splitlines()] == [
        ["1", "channel-0"],
        ["2", "channel-1"],
        ["1", "channel-0"],
    ]
    assert all(len(line.split()) == 10 for line in rendered("rttm", HOSTILE_CALL).splitlines())


def test_text_has_a_paragraph_a_turn_and_one_more_after_a_long_silence() -> None:
    assert rendered("txt", CALL) == (
        "channel-0: Hello, this is Ann.\n\nchannel-1: Hi Ann.\n\nchannel-0: How can I help?\n"
    )
    alone = recording(segment("One.", 0), segment("Two\nthree.", 600), segment("Four.", 5_000))
    assert rendered("txt", alone) == "One. Two three.\n\nFour.\n"
    characters = recording(segment("你好。", words=["你", "好"]), segment("再见。", 900, words=["再", "见"]))
    assert rendered("txt", characters) == "你好。再见。\n"


def test_a_row_whose_words_are_not_all_there_is_refused() -> None:
    assert [word.word for word in from_row(row()).segments[0].words] == ["Hello,", "world."]
    other_segment = {**row()["segments"][0], "text": "Goodbye."}
    for changes in (
        {"word_count": 3},
        {"words": None},
        {"words": row()["words"][:1]},
        {"segments": None},
        {"segments": [other_segment]},
    ):
        with pytest.raises(ExportError, match="published again"):
            from_row(row(**changes))
