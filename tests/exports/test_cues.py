"""Subtitles against the trade's rules. The count of violations and the search through all divisions are written anew
here, so that they do not share a mistake with the code."""

from __future__ import annotations

import itertools
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from schemas.config import SubtitlesConfig
from tests.exports.made import recording, segment
from transforms.exports.cues import Cue, cues
from transforms.exports.recording import Recording, Segment, Word
from transforms.exports.slip import Shown, slipped

RULES = SubtitlesConfig()
_WORDS = st.sampled_from(
    "a I we the lake harbour tomorrow, 4,000 boxes. internationalisation 湖水 naïve Yes. and because remembered".split()
)
_SAID = st.lists(st.tuples(_WORDS, st.integers(60, 900), st.integers(0, 700)), min_size=1, max_size=9)
"""(word, its length, the pause after it), in milliseconds."""


AWKWARD = [("remembered", 732, 0), ("naïve", 160, 0), ("the", 473, 0), ("boxes.", 235, 0), ("tomorrow,", 188, 0)]
AWKWARD[4:4] = [("internationalisation", 407, 63), ("internationalisation", 386, 0)]
AWKWARD.append(("remembered", 666, 0))
"""Obeys only if it is cut where it is ugly."""


def spoken(said: list[tuple[str, int, int]]) -> Recording:
    words, at = [], 0
    for word, word_ms, pause_ms in said:
        words.append(Word(word, at, at + word_ms, 0.9))
        at += word_ms + pause_ms
    text = " ".join(word.word for word in words)
    return recording(Segment(0, words[-1].end_ms or 0, text, "en", None, None, 0.9, tuple(words)))


def columns(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def violations(found: list[Cue]) -> set[str]:
    """The rules that any of the cues breaks."""
    broken = set()
    for cue in found:
        shown_ms = cue.end_ms - cue.start_ms
        read = sum(columns(line) for line in cue.lines) + len(cue.lines) - 1
        broken |= {"lines"} if len(cue.lines) > RULES.max_lines else set()
        broken |= {"width"} if any(columns(line) > RULES.max_line_chars for line in cue.lines) else set()
        broken |= {"speed"} if read > RULES.chars_per_second * shown_ms / 1000 + 0.5 else set()
        broken |= {"short"} if shown_ms < RULES.min_ms else set()
        broken |= {"long"} if shown_ms > RULES.max_ms else set()
    for before, after in itertools.pairwise(found):
        broken |= (
            {"gap"} if before.speaker == after.speaker and after.start_ms - before.end_ms < RULES.gap_ms else set()
        )
    return broken


def obedient_division_exists(said: list[tuple[str, int, int]]) -> bool:
    """Tries every way to cut the words into cues of at most two lines, each shown from its first word to the next cue
    at most."""
    starts = [sum(a + b for _, a, b in said[:k]) for k in range(len(said))]
    ends = [start + word_ms for start, (_, word_ms, _) in zip(starts, said, strict=True)]
    for cuts in itertools.product([False, True], repeat=len(said) - 1):
        edges = [0, *(k + 1 for k, cut in enumerate(cuts) if cut), len(said)]
        if all(_obeys(said, starts, ends, first, last) for first, last in itertools.pairwise(edges)):
            return True
    return False


def _obeys(said: list[tuple[str, int, int]], starts: list[int], ends: list[int], first: int, last: int) -> bool:
    words = [word for word, _, _ in said[first:last]]
    fits = any(
        columns(" ".join(words[:k])) <= RULES.max_line_chars and columns(" ".join(words[k:])) <= RULES.max_line_chars
        for k in range(len(words) + 1)
    )
    gone_ms = starts[last] - RULES.gap_ms if last < len(said) else starts[first] + RULES.max_ms
    shown_ms = min(gone_ms - starts[first], RULES.max_ms)
    needed_ms = max(RULES.min_ms, columns(" ".join(words)) / RULES.chars_per_second * 1000)
    return fits and shown_ms >= needed_ms and ends[last - 1] - starts[first] <= RULES.max_ms


@settings(max_examples=400)
@given(_SAID)
@example(AWKWARD)
@example([("Yes.", 80, 0), ("internationalisation", 400, 700), ("a", 900, 0)])
def test_no_rule_is_broken_where_any_division_of_the_words_breaks_none(said: list[tuple[str, int, int]]) -> None:
    found = cues(spoken(said), RULES)
    assert " ".join(" ".join(cue.lines) for cue in found).split() == [word for word, _, _ in said]
    broken = violations(found)
    assert not broken & {"lines", "width", "long"}
    if obedient_division_exists(said):
        assert not broken


@settings(max_examples=30)
@given(st.lists(st.tuples(_WORDS, st.integers(20, 300), st.just(0)), min_size=20, max_size=80))
def test_where_people_speak_too_fast_every_word_stays_and_the_lines_still_fit(said: list[tuple[str, int, int]]) -> None:
    found = cues(spoken(said), RULES)
    assert " ".join(" ".join(cue.lines) for cue in found).split() == [word for word, _, _ in said]
    assert not violations(found) & {"lines", "width", "long"}
    assert all(a.end_ms <= b.start_ms for a, b in itertools.pairwise(found))


def missing_ms(cue: Cue) -> int:
    """By how much a cue is too short to read."""
    read = sum(columns(line) for line in cue.lines) + len(cue.lines) - 1
    return max(0, max(RULES.min_ms, int(read * 1000 / RULES.chars_per_second)) - (cue.end_ms - cue.start_ms))


_TALK = st.lists(st.tuples(_WORDS, st.integers(30, 500), st.integers(0, 2_500)), min_size=2, max_size=60)


@settings(max_examples=200)
@given(_TALK, st.lists(st.sampled_from(["a", "b"]), min_size=60, max_size=60), st.booleans())
def test_slipping_costs_no_cue_anything_and_goes_no_farther_than_allowed(
    said: list[tuple[str, int, int]], speakers: list[str], alone: bool
) -> None:
    words, at = [], 0
    for word, word_ms, pause_ms in said:
        words.append(Word(word, at, at + word_ms, 0.9))
        at += word_ms + pause_ms
    segments = [
        Segment(word.start_ms or 0, word.end_ms or 0, word.word, "en", "a" if alone else speaker, None, 0.9, (word,))
        for word, speaker in zip(words, speakers, strict=False)
    ]
    still = cues(recording(*segments), RULES.model_copy(update={"max_slip_ms": 0}))
    found = cues(recording(*segments), RULES)
    assert [cue.lines for cue in found] == [cue.lines for cue in still]
    assert not violations(found) & {"lines", "width", "long"}
    for before, after in zip(still, found, strict=True):
        assert abs(after.start_ms - before.start_ms) <= RULES.max_slip_ms
        assert missing_ms(after) <= missing_ms(before)
        assert after.end_ms >= before.end_ms
    assert sum(map(missing_ms, found)) <= sum(map(missing_ms, still))
    for (a, b), (c, d) in zip(itertools.pairwise(still), itertools.pairwise(found), strict=True):
        assert d.start_ms - c.end_ms >= min(RULES.gap_ms, b.start_ms - a.end_ms)


def test_what_is_said_too_fast_is_shown_a_little_early_and_the_next_a_little_late() -> None:
    before, fast, after = Shown(0, 500, 500, None), Shown(1_000, 1_900, 1_500, None), Shown(1_980, 4_000, 1_500, None)
    assert slipped([before, fast, after], RULES) == [(0, 500), (580, 2_080), (2_160, 4_000)]
    assert slipped([fast, after], RULES) == [(400, 1_900), (1_980, 4_000)]
    assert slipped([before, fast, after._replace(speaker="b")], RULES) == [(0, 500), (580, 1_900), (1_980, 4_000)]
    much = [Shown(5_000, 5_900, 3_000, None), Shown(5_980, 6_980, 1_000, None)]
    assert slipped(much, RULES) == [(4_000, 6_900), (6_980, 7_980)]
    at_once = after._replace(start_ms=1_800)
    assert slipped([before, fast, at_once], RULES) == [(0, 500), (1_000, 1_900), (1_800, 4_000)]
    hurried = [Shown(at * 1_000, at * 1_000 + 920, 1_100, None) for at in range(9)]
    assert [start_ms for start_ms, _ in slipped(hurried[:5], RULES)] == [0, 1_180, 2_360, 3_540, 4_720]
    starts = [start_ms for start_ms, _ in slipped(hurried, RULES)]
    assert max(start_ms - one.start_ms for start_ms, one in zip(starts, hurried, strict=True)) == 1_000


def test_another_speaker_is_not_put_off() -> None:
    fast = segment("Eleven seconds later she heard her grandfather's voice", 0, word_ms=300, speaker="channel-0")
    other = segment("Who?", 2_700, speaker="channel-1")
    assert cues(recording(fast, other), RULES)[1].start_ms == 2_700


def test_slow_speech_breaks_no_rule() -> None:
    text = (
        "We found 83 boxes that nobody had opened since the year 1991, and inside were interviews with farmers. " * 20
    )
    found = cues(recording(segment(text.strip(), word_ms=330, pause_ms=60)), RULES)
    assert len(found) > 20
    assert not violations(found)


def lines(text: str, **said: object) -> list[tuple[str, ...]]:
    return [cue.lines for cue in cues(recording(segment(text, **said)), RULES)]  # type: ignore[arg-type]


def test_one_line_if_it_fits_else_two_cut_at_punctuation_or_before_a_conjunction() -> None:
    assert lines("The story begins in a basement.") == [("The story begins in a basement.",)]
    assert lines("It's a two-day delivery, so it comes by Wednesday then.") == [
        ("It's a two-day delivery,", "so it comes by Wednesday then.")
    ]
    assert lines("I have looked all over the house but nothing is there now.") == [
        ("I have looked all over the house", "but nothing is there now.")
    ]


@pytest.mark.parametrize("kept", ["3 000 000", "New York City", "Dr. Jane Smith", "25 percent", "5 o'clock", "No. 7"])
def test_numbers_and_names_stay_on_one_line(kept: str) -> None:
    for before in range(1, 16):
        text = "so " * before + kept + " there we went along the water" + " so" * 6
        assert any(kept in line for cue in lines(text, word_ms=200) for line in cue), (kept, before)


def test_a_word_wider_than_a_line_is_cut_and_nothing_of_it_lost() -> None:
    url = "https://example.org/" + "a" * 100
    found = [line for cue in lines(f"see {url} now", word_ms=3_000) for line in cue]
    assert "".join(found).replace(" ", "") == f"see{url}now"
    assert max(map(columns, found)) <= 42


def test_wide_characters_count_two_and_have_no_spaces() -> None:
    text = "今天我们来看看新的湖边图书馆，它从早上十点一直开放到晚上八点，欢迎大家来参观学习。"
    found = lines(text, words=[c for c in text if c not in "，。"], word_ms=200, language="zh")
    assert "".join("".join(cue) for cue in found) == text
    assert max(len(line) for cue in found for line in cue) <= 21


def test_limits_are_the_configurations() -> None:
    narrow = SubtitlesConfig(max_line_chars=20, max_lines=1)
    found = cues(recording(segment("We saved four thousand old cassettes from the basement.")), narrow)
    assert all(len(cue.lines) == 1 and len(cue.lines[0]) <= 20 for cue in found)


def test_a_cue_lasts_into_the_silence_after_it_and_not_into_the_next_speaker() -> None:
    yes, no = segment("Yes.", 0, speaker="channel-0"), segment("No.", 5_000, speaker="channel-1")
    assert [(cue.start_ms, cue.end_ms) for cue in cues(recording(yes, no), RULES)] == [(0, 1_000), (5_000, 6_000)]
    soon = segment("No.", 700, speaker="channel-1")
    assert [(cue.start_ms, cue.end_ms) for cue in cues(recording(yes, soon), RULES)] == [(0, 620), (700, 1_700)]


def test_two_who_speak_at_once_are_both_shown_when_they_speak() -> None:
    long = segment("I was only going to say that we should wait here.", 0, speaker="channel-0")
    short = segment("No, no.", 1_000, speaker="channel-1")
    found = cues(recording(long, short), RULES)
    assert [cue.speaker for cue in found] == ["channel-0", "channel-1"]
    assert found[0].end_ms > found[1].start_ms
    assert {cue.lines for cue in found} >= {("No, no.",)}


def test_words_without_times_are_shown_with_their_neighbours() -> None:
    timed = cues(recording(segment("one two three four")), RULES)
    for untimed in ([0], [3], [1, 2], [0, 1, 2, 3]):
        (cue,) = cues(recording(segment("one two three four", untimed=untimed)), RULES)
        assert cue == timed[0]


def test_words_that_no_time_is_left_for_still_come_one_after_the_other() -> None:
    squeezed = Segment(
        5_000, 5_000, " ".join(["word"] * 60), "en", None, None, None, (Word("word", None, None, None),) * 60
    )
    found = cues(recording(squeezed), RULES)
    assert sum(len(line.split()) for cue in found for line in cue.lines) == 60
    assert all(a.start_ms < a.end_ms <= b.start_ms for a, b in itertools.pairwise(found))


def test_silence_has_no_subtitles() -> None:
    assert cues(recording(), RULES) == []


@pytest.mark.parametrize(
    ("text", "words", "language"),
    [
        ("好吧！《红楼梦》是中国古典小说之一，" * 6, "好吧！《红楼梦》是中国古典小说之一，", "zh"),
        ("elle a dit « Non merci » et puis « Oui » " * 6, None, "fr"),
    ],
)
def test_no_line_ends_with_a_mark_that_opens(text: str, words: str | None, language: str) -> None:
    said = [word for word in (text if words else text.split()) if any(map(str.isalpha, word))]
    found = cues(recording(segment(text.strip(), words=said, language=language)), RULES)
    lines = [line for cue in found for line in cue.lines]
    assert len(lines) > 3
    assert not any(line.endswith(("《", "«")) for line in lines)
    assert not any(line.startswith(("》", "»", "，", "！")) for line in lines)


def test_no_character_is_divided() -> None:
    family = "👩\u200d👩\u200d👧"
    found = cues(recording(segment(family * 40, word_ms=6_000)), RULES)
    lines = [line for cue in found for line in cue.lines]
    assert len(lines) > 1
    assert all(line.replace(family, "") == "" for line in lines)
