from __future__ import annotations

import pytest

from schemas.languages import code, is_unsaid
from transforms.engines.qwen.languages import NAMES
from transforms.engines.whisper import WhisperSpec

SPELLINGS = {
    "en": "en EN en-US en_US eng English ENGLISH",
    "de": "de deu ger de-AT German Deutsch Allemand",
    "zh": "zh zh-CN zh_TW zh-Hant zho chi cmn Chinese Mandarin 中文",
    "yue": "yue zh-yue Cantonese 粵語",
    "no": "no nor nb nob nb-NO Norwegian Norsk Bokmål",
    "nn": "nn nno Nynorsk",
    "he": "he iw heb Hebrew",
    "fil": "fil tl tgl Filipino Tagalog",
    "id": "id in ind Indonesian",
    "ar": "ar ar-EG arb ara Arabic",
    "fr": "fr fra fre fr-CA French Français",
    "jv": "jv jw jav Javanese",
    "ja": "ja jpn Japanese 日本語",
    "tlh": "tlh Klingon",
}


@pytest.mark.parametrize("normal", SPELLINGS)
def test_a_language_has_one_code_however_it_is_spelled(normal: str) -> None:
    assert {spelled: code(spelled) for spelled in [*SPELLINGS[normal].split(), f" {normal} "]} == dict.fromkeys(
        [*SPELLINGS[normal].split(), f" {normal} "], normal
    )


def test_names_may_say_where_it_is_spoken() -> None:
    assert [code(name) for name in ("English (US)", "Brazilian Portuguese", "Mandarin Chinese")] == ["en", "pt", "zh"]


def test_what_is_no_language_has_no_code() -> None:
    wrong = ("xx", "jp", "cn", "klingonish", "qqq", "mul", "zxx", "a", "en-", "en us", "de,en", "x-foo", "123", "*")
    assert [tag for tag in wrong if code(tag) is not None] == []


def test_what_says_nothing_is_to_be_detected() -> None:
    assert all(is_unsaid(tag) for tag in (None, "", "  ", "und", "auto"))
    assert not is_unsaid("xx")


def test_the_engines_languages_have_normal_codes() -> None:
    assert {code(own): code(name) for own, name in NAMES.items()} == {own: own for own in NAMES}
    whisper = WhisperSpec().languages
    assert {code(own) for own in whisper} == whisper
    assert {"fil", "jv", "no", "nn", "he", "zh"} <= whisper
    assert "yue" not in whisper  # only large-v3 has a token for it
