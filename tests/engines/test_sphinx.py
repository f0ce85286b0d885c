"""The aligner's spec, and the aligner on real speech."""

import csv
import json
import pickle
import re
import statistics
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from schemas.config import ConfigError
from transforms import packages
from transforms.engines import ALIGNERS, AlignmentRequest, Samples, sphinx
from transforms.engines.sphinx import SphinxAligner, SphinxSpec
from transforms.text.tokens import WordTime, WordTimes


@pytest.fixture(scope="module")
def aligner() -> SphinxAligner:
    return SphinxSpec().load()


@pytest.fixture(scope="module")
def note(examples: Path) -> AlignmentRequest:
    """36 words of the project's own, all of them in the dictionary."""
    with (examples.parent / "transcripts.tsv").open(newline="", encoding="utf-8") as file:
        texts = {row["file"]: row["text"] for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)}
    samples, rate = soundfile.read(examples / "meeting_note.flac", dtype="float32")
    assert rate == 16_000
    return request(samples, texts["meeting_note.flac"])


def request(samples: Samples, text: str) -> AlignmentRequest:
    return AlignmentRequest(samples, text, tuple(word.span() for word in re.finditer(r"\S+", text)), "en")


def one(aligner: SphinxAligner, samples: Samples, text: str) -> WordTimes:
    times = aligner.align([request(samples, text)])[0]
    assert times is not None
    return times


# The spec


def test_the_spec_is_registered_hashable_and_picklable() -> None:
    spec = SphinxSpec()
    assert ALIGNERS["sphinx"] == f"{SphinxSpec.__module__}:{SphinxSpec.__name__}"
    assert {pickle.loads(pickle.dumps(spec)): 1}[spec] == 1
    assert spec.languages == {"en"}
    assert re.fullmatch(r"\d+\.\d+\.\d+", spec.key["pocketsphinx"])
    json.dumps(spec.key)


def test_a_missing_package_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    SphinxSpec().checked()
    monkeypatch.setattr(packages, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="pip install pocketsphinx"):
        SphinxSpec().checked()


def test_the_spec_imports_no_engine() -> None:
    code = f"import sys, {SphinxSpec.__module__} as s; s.SphinxSpec().checked(); print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"pocketsphinx", "num2words"} & set(modules)


# On speech


def test_starts_are_those_set_by_hand(aligner: SphinxAligner, data: Path) -> None:
    with (data / "manifest.tsv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    errors = []
    for row in [row for row in rows if row["path"].startswith("timit_nltk_sample/")][::4]:
        reference = json.loads(row["reference_words"])
        samples, _ = soundfile.read(data / row["path"], dtype="float32")
        times = one(aligner, samples, " ".join(word["word"] for word in reference))
        errors += [time[0] - 1000 * word["start"] for time, word in zip(times, reference, strict=True) if time]
    assert len(errors) > 100
    assert statistics.median(map(abs, errors)) <= 14
    assert abs(statistics.median(errors)) <= 3, "8 without the window's offset"
    assert sum(abs(error) <= 50 for error in errors) / len(errors) >= 0.9


def test_times_are_ordered_and_inside(aligner: SphinxAligner, note: AlignmentRequest) -> None:
    times = aligner.align([note])[0]
    assert times is not None
    assert len(times) == len(note.words)
    timed = [time for time in times if time]
    assert len(timed) == len(times)
    assert all(type(value) is int for time in timed for value in (time.start_ms, time.end_ms))
    assert all(0 <= start < end <= len(note.samples) // 16 for start, end, _ in timed)
    assert all(before[1] <= after[0] for before, after in pairwise(timed))
    pauses_ms = [after[0] - before[1] for before, after in pairwise(timed)]
    assert sum(pause > 150 for pause in pauses_ms) >= 4, "a word must not end with the pause after it"


def test_a_number_lies_where_its_words_lie(aligner: SphinxAligner, note: AlignmentRequest) -> None:
    spelled = one(aligner, note.samples, note.text)
    words = note.text.split()
    first = words.index("eighteen")
    assert words[first : first + 5] == ["eighteen", "dollars", "and", "fifty", "cents."]
    written = one(aligner, note.samples, " ".join([*words[:first], "$18.50.", *words[first + 5 :]]))
    assert len(written) == len(words) - 4
    assert _near(written[first], WordTime(spelled[first][0], spelled[first + 4][1]), 60)
    assert written[:first] == spelled[:first]


def test_unknown_words_are_timed_by_their_letters(aligner: SphinxAligner, note: AlignmentRequest) -> None:
    misspelled = note.text.replace("ticket", "tikkit").replace("payment", "paimint")
    assert not {"tikkit", "paimint"} & {word for word in misspelled.split() if aligner._search.knows(word)}
    right, other = one(aligner, note.samples, note.text), one(aligner, note.samples, misspelled)
    assert sum(a != b for a, b in zip(note.text.split(), misspelled.split(), strict=True)) == 2
    assert all(_near(a, b, 60) for a, b in zip(right, other, strict=True))


def test_made_up_words_do_not_cost_the_others(note: AlignmentRequest) -> None:
    aligner = SphinxAligner()
    right = one(aligner, note.samples, note.text)
    words = note.text.split()
    times = one(aligner, note.samples, " ".join([*words[:20], "please", "like", "and", "subscribe", *words[20:]]))
    others = [*times[:20], *times[24:]]
    assert sum(_near(a, b, 50) for a, b in zip(right, others, strict=True)) >= 0.85 * len(words)
    assert aligner._unpruned is None, "the wide beam is enough for that"


def test_a_search_that_fails_is_repeated_without_pruning(
    note: AlignmentRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = note.text + " Thank you for watching and please do not forget to subscribe"
    monkeypatch.setattr(sphinx, "_WORST_FIT", -np.inf)
    with_silence = request(np.concatenate([note.samples, np.zeros(16_000, np.float32)]), text)
    assert SphinxAligner().align([with_silence])[0] is not None
    monkeypatch.setattr(sphinx, "_LONGEST_UNPRUNED_S", 0)
    assert SphinxAligner().align([with_silence])[0] is None


@pytest.mark.parametrize("level_dbfs", [-60, -80])
def test_words_over_silence_have_no_time(aligner: SphinxAligner, note: AlignmentRequest, level_dbfs: float) -> None:
    hiss = np.random.default_rng(0).normal(0, 10 ** (level_dbfs / 20), 32_000).astype(np.float32)
    right = one(aligner, note.samples, note.text)
    times = one(aligner, np.concatenate([note.samples, hiss]), note.text + " Thank you bye")
    assert times[-1] is None
    assert all(_near(a, b, 50) for a, b in zip(right[:-3], times[: len(right) - 3], strict=True))
    assert aligner.align([request(np.zeros(56_000, np.float32), "Thank you.")]) == [None]


def test_a_word_drawn_out_absurdly_has_no_time() -> None:
    drawn_out = sphinx._Spoken(first_frame=10, last_frame=129, phones=2, score=-100.0)
    said = sphinx._Spoken(first_frame=10, last_frame=49, phones=2, score=-100.0)
    assert sphinx._time([drawn_out], samples=32_000) is None
    assert sphinx._time([said], samples=32_000) == WordTime(108, 508)


def test_words_that_nobody_says_have_no_time(aligner: SphinxAligner, note: AlignmentRequest) -> None:
    plain = one(aligner, note.samples, note.text)
    assert one(aligner, note.samples, "🎻 " + note.text + " —") == [None, *plain, None]


@pytest.mark.parametrize("length", [0, 1, 1_599])
def test_too_short_samples_cannot_be_aligned(aligner: SphinxAligner, length: int) -> None:
    assert aligner.align([request(np.zeros(length, np.float32), "hello")]) == [None]


def test_requests_without_spoken_words(aligner: SphinxAligner, note: AlignmentRequest) -> None:
    assert aligner.align([request(note.samples, ""), request(note.samples, "🎻 …")]) == [[], None]


def test_what_does_not_fit_is_none(aligner: SphinxAligner, note: AlignmentRequest) -> None:
    tale = (
        "once there lived a miller beside the river whose three clumsy sons wished to become sailors on a great ship "
    )
    second = note.samples[:16_000]
    assert aligner.align([request(note.samples, tale * 2), request(second, tale * 2)]) == [None, None]
    assert aligner.align([note])[0] is not None, "the decoder must survive a failure"


def test_samples_out_of_range_are_clipped(aligner: SphinxAligner, note: AlignmentRequest) -> None:
    loud = note.samples * (4 / np.abs(note.samples).max())
    assert one(aligner, loud, note.text) == one(aligner, np.clip(loud, -1, 1), note.text)


def test_a_result_depends_on_nothing_else(note: AlignmentRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    cut = 16_000 * 8
    requests = [
        request(note.samples, note.text.replace("ticket", "tikkit")),
        request(note.samples[:cut] * 0.05, "okay quik notes"),
        request(np.zeros(0, np.float32), "nothing"),
        request(note.samples[cut:] + np.float32(0.1), "tikkit's kwik TIKKIT brr 😀 1999"),
        request(note.samples[:8_000], note.text),
        note,
    ]
    alone = [SphinxAligner().align([each])[0] for each in requests]
    assert sum(times is not None for times in alone) >= 3
    aligner = SphinxAligner()
    assert aligner.align(requests) == alone
    assert aligner.align(requests[::-1]) == alone[::-1]
    assert not aligner._search.knows("tikkit"), "an added word must not be a stem of later ones"
    monkeypatch.setattr(sphinx._Search, "MOST_ADDED", 2)
    before = aligner._search._decoder
    assert aligner.align(requests[:4]) == alone[:4]
    assert aligner._search._decoder is not before, "the dictionary must not grow for ever"


def _near(a: WordTime | None, b: WordTime | None, most_ms: int) -> bool:
    return a is not None and b is not None and max(abs(a[0] - b[0]), abs(a[1] - b[1])) <= most_ms
