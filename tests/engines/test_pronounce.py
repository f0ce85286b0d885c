"""What a written word is said like, and how words that the dictionary lacks are pronounced."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.engines.pronounce import pronunciations
from transforms.engines.spoken import spoken

KNOWN = {
    **{"hello": "HH AH L OW", "plan": "P L AE N", "make": "M EY K", "happy": "HH AE P IY", "box": "B AA K S"},
    **{"lake": "L EY K", "describe": "D IH S K R AY B", "us": "AH S", "cat": "K AE T", "want": "W AA N T"},
}
ARPABET = set(
    "AA AE AH AO AW AY B CH D DH EH ER EY F G HH IH IY JH K L M N NG OW OY P R S SH T TH UH UW V W Y Z ZH".split()
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Don't,", "don't"),
        ("twenty-one", "twenty one"),
        ("naïve café—Zürich", "naive cafe zurich"),
        ("$1,000", "one thousand dollars"),
        ("$1,000.50", "one thousand dollars fifty cents"),
        ("£1.01 €0.99 $1.5", "one pound one penny ninety nine cents one point five dollars"),
        ("$5 million,", "five million dollars"),
        ("$2.25M", "two point two five million dollars"),
        ("50% 3.14 4.1.2", "fifty percent three point one four four point one point two"),
        ("1st 21st 1,200th", "first twenty first one thousand two hundredth"),
        ("1999 2005 1990s '60s", "nineteen ninety nine two thousand five nineteen nineties sixties"),
        ("2,100 150 0", "two thousand one hundred one hundred fifty zero"),
        ("3:30 3:05 10:00", "three thirty three oh five ten"),
        ("555-0142 007", "five five five zero one four two zero zero seven"),
        ("12345678", "one two three four five six seven eight"),
        ("-5° 5-10", "minus five degrees five ten"),
        ("AT&T NASA CEOs I", "AT and t NASA CEOS i"),
        ("OpenAI mp3 5kg 5½", "open AI mp three five kilograms five half"),
        ("¥1 ¥1.01 ¥2.50", "one yen one yen one sen two yen fifty sen"),
        ("ılık Kelvin", "ilik kelvin"),
        ("— 🎻 湖水 ' ½ Ⅷ ①", "half eight one"),
    ],
)
def test_words_are_said_like(text: str, said: str) -> None:
    tokens = spoken(text.split(), known=lambda word: False)
    assert " ".join(token for word in tokens for token in word) == said


def test_each_word_has_its_own_tokens() -> None:
    assert spoken(["It's", "🎻", "$5", "million"], lambda word: True) == [
        ["it's"],
        [],
        ["five"],
        ["million", "dollars"],
    ]


def test_words_of_the_dictionary_stay_whole() -> None:
    known = {"a.m.", "uh-huh", "'em", "o'neill"}
    tokens = spoken(["9", "a.m.", "Uh-huh,", "'em", "O’Neill's", "end."], known.__contains__)
    assert tokens == [["nine"], ["a.m."], ["uh-huh"], ["'em"], ["o'neill's"], ["end"]]


@pytest.mark.parametrize(
    ("token", "phones"),
    [
        ("plans", ["P L AE N Z"]),
        ("cat's", ["K AE T S"]),
        ("boxes", ["B AA K S AH Z"]),
        ("planned", ["P L AE N D"]),
        ("wanted", ["W AA N T AH D"]),
        ("making", ["M EY K IH NG"]),
        ("happiness", ["HH AE P IY N AH S"]),
        ("lakedescribe", ["L EY K D IH S K R AY B"]),
        ("phone", ["F OW N"]),
        ("knight", ["N AY T"]),
        ("cage", ["K EY JH"]),
        ("rabbit", ["R AE B IH T"]),
        ("nation", ["N EY SH AH N"]),
        ("thing", ["TH IH NG"]),
        ("mp", ["EH M P IY"]),
        ("US", ["AH S", "Y UW EH S"]),
        ("CEO'S", ["S IY IY OW Z"]),
        ("'s", ["EH S"]),
    ],
)
def test_words_that_the_dictionary_lacks_are_pronounced(token: str, phones: list[str]) -> None:
    found = pronunciations(token, KNOWN.get)
    assert found[-len(phones) :] == phones


_SIGNS = st.characters(categories=["Sc", "Sm", "Sk", "So", "Nd", "Nl", "No", "Po", "Pd", "Lm", "Mn"])
_WRITTEN = st.one_of(
    st.text(max_size=40),
    st.from_regex(r"[$£€¥-]?[0-9,.:]{1,20}(st|th|s|%|M)?", fullmatch=True),
    st.builds("{}{}{}".format, _SIGNS, st.sampled_from(["1", "0.01", "5k", "a", "s", "1:00", "'s"]), _SIGNS),
)
"""Whatever a recognizer may write: any script, amounts in any currency, numbers of any kind."""


@settings(max_examples=200)
@given(_WRITTEN)
def test_any_word_can_be_pronounced(text: str) -> None:
    for token in spoken([text], KNOWN.__contains__)[0]:
        assert re.fullmatch(r"[a-z'.-]+|[A-Z']+", token)
        for way in pronunciations(token, KNOWN.get):
            assert way
            assert set(way.split()) <= ARPABET
