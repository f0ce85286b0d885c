"""How much text a stretch of speech can hold, in any script."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from transforms.recognition.support import agree, holds, spoken_s


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("", 0.0),
        ("?!… ♪", 0.0),
        ("a" * 25, 1.0),
        ("ÄÖÜ, " * 5, 0.6),
        ("图书馆从上午十点开。到晚", 11 / 12),
        ("さようなら", 5 / 12),
        ("안녕하세요", 5 / 12),
        ("1963", 4 / 12),
        ("नमस्ते", 4 / 25),
        ("สวัสดี", 4 / 25),
    ],
)
def test_the_least_time_in_which_a_text_can_be_said(text: str, seconds: float) -> None:
    assert spoken_s(text) == pytest.approx(seconds)


def test_seven_words_do_not_fit_into_half_a_second() -> None:
    text = "I am going to see you later"
    assert not holds([(0, 6_400)], text, 0.3)
    assert holds([(0, 6_400), (20_000, 30_000)], text, 0.3)


def test_what_people_really_said_fits_into_its_time(data: Path) -> None:
    """Of whole clips of more than a second, with the pauses in them."""
    with (data / "manifest.tsv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    said = [
        row for row in rows if row["reference_text"] and float(row["duration_s"] or 0) > 1 and row["channels"] == "1"
    ]
    assert len(said) > 100
    full = [row["path"] for row in said if spoken_s(row["reference_text"]) > 0.9 * float(row["duration_s"])]
    assert [path for path in full if not path.startswith("hard_inputs")] == []


def test_readings_agree_by_half_of_the_first_ones_words() -> None:
    assert agree("and so my fellow Americans", "so, my fellow!")
    assert not agree("and so my fellow Americans", "Americans")
    assert agree("图书馆开门", "图书馆")
    assert not agree("图书馆开门", "谢谢")
    assert not agree("said", "")
