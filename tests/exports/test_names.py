from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.exports.names import file_stem


@pytest.mark.parametrize(
    ("uri", "stem"),
    [
        ("/calls/Tuesday 10.30.wav", "Tuesday_10_30"),
        ("s3://bucket/a/b%20c/Caf%C3%A9.mp3", "Café"),
        ("https://host/talk.mp3?token=secret&x=/y.wav#t", "talk"),
        ("C:\\calls\\con.wav", "con"),
        ("/calls/../..", "recording"),
        ("/calls/--help.wav", "help"),
        ("/calls/録音.m4a", "録音"),
        ("/calls/.wav", "wav"),
        ("/", "recording"),
        (None, "recording"),
    ],
)
def test_the_last_part_of_the_uri_is_in_the_name(uri: str | None, stem: str) -> None:
    assert file_stem("a", uri)[:-13] == stem


def test_the_name_is_the_same_for_ever() -> None:
    assert file_stem("a", "/calls/talk.wav") == "talk-zklycewkdo64"


def test_the_same_name_in_two_folders_is_two_files_whatever_the_case_of_the_id() -> None:
    names = [file_stem(audio_id, f"/{k}/talk.wav") for k, audio_id in enumerate(["a", "b", "A", "a "])]
    assert len({name.lower() for name in names}) == 4


@given(st.text(max_size=400), st.text(max_size=400))
def test_every_name_is_safe_on_all_systems(audio_id: str, uri: str) -> None:
    name = file_stem(audio_id, uri)
    assert len(name.encode()) <= 133
    assert not set(name) & set('/\\:*?"<>|.\0\n\r\t ')
    assert all(unicodedata.category(character)[0] in "LMNP" for character in name)
    assert name[0] not in "-." and unicodedata.is_normalized("NFC", name)
