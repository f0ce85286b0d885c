"""The contract of transforms/engines/__init__.py, for every entry of RECOGNIZERS and for the tests' own engine."""

from __future__ import annotations

import json
import math
import pickle
import re
import threading
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from schemas.config import SAMPLE_RATE_HZ, Config, EngineConfig
from tests.kit.lake import cut
from transforms.engines import (
    ALIGNERS,
    RECOGNIZER_TIMES,
    RECOGNIZERS,
    Hypothesis,
    Utterance,
    load_once,
    recognizer_spec,
)
from transforms.recognition.batching import Window
from transforms.recognition.dialogues import asked, hold
from transforms.recognition.second_try import recognizer_stream

_TINY_QWEN = Path(__file__).parents[2] / "examples" / "tiny_qwen"
_SMALL: Mapping[str, Mapping[str, Any]] = {
    "whisper": {"model": "tiny.en"},
    "qwen": {"model": str(_TINY_QWEN / "recognizer")},
    "vllm": {"model": str(_TINY_QWEN / "recognizer")},
    "tests.kit.engine:Spec": {},
}
"""Options that make each engine small. To add an engine: its line here."""
_NEEDS = {"qwen": ("torch", "qwen_asr"), "vllm": ("vllm",)}


def read(spec: Any, utterances: Sequence[Utterance]) -> list[Any]:
    """What the engine answers to all of them at once."""

    bell = threading.Condition()
    stream = recognizer_stream(load_once(spec), Window(math.inf), bell)
    return hold([asked(stream, utterance) for utterance in utterances], [stream], bell)


@pytest.fixture(scope="module", params=sorted({*RECOGNIZERS, *_SMALL}))
def spec(request: pytest.FixtureRequest) -> Any:
    for package in _NEEDS.get(request.param, ()):
        if find_spec(package) is None:
            pytest.skip(f"needs {package}: make test for engine qwen, make test-vllm for vllm")
    assert request.param in _SMALL, "give a small model of it"
    return recognizer_spec(Config(engine=EngineConfig(name=request.param, options=dict(_SMALL[request.param]))))


@pytest.fixture(scope="module")
def utterances() -> list[Utterance]:
    """Of unlike lengths, with a given language and without: speech, a click, silence."""
    files = [_TINY_QWEN / "speech" / name for name in ("dog_and_cat.flac", "green_window.flac")]
    spoken = [soundfile.read(file, dtype="float32")[0] for file in files]
    quiet = np.zeros(SAMPLE_RATE_HZ, np.float32)
    click = quiet[: SAMPLE_RATE_HZ // 5].copy()
    click[100:110] = 0.5
    clips = [*spoken, cut(10, 6.5), click, quiet]
    return [Utterance(samples, "en" if index % 2 else None) for index, samples in enumerate(clips)]


@pytest.fixture(scope="module")
def answers(spec: Any, utterances: list[Utterance]) -> list[Hypothesis]:
    return read(spec, utterances)


def test_a_spec_is_a_value_that_travels_to_the_workers(spec: Any) -> None:
    travelled = pickle.loads(pickle.dumps(spec))
    assert (travelled, hash(travelled)) == (spec, hash(spec))
    assert load_once(travelled) is load_once(spec)
    with pytest.raises(AttributeError):
        spec.model = "another"


def test_the_key_is_json_that_names_the_engine(spec: Any) -> None:
    assert json.loads(json.dumps(spec.key)) == dict(spec.key)
    assert spec.key["name"]


def test_n_in_n_out(spec: Any, utterances: list[Utterance], answers: list[Hypothesis]) -> None:
    assert len(answers) == len(utterances)
    assert read(spec, []) == []
    assert any(answer.text for answer in answers)


def test_a_result_does_not_depend_on_the_batch(
    spec: Any, utterances: list[Utterance], answers: list[Hypothesis]
) -> None:
    reversed_batch = read(spec, utterances[::-1])[::-1]
    for utterance, answer, other in zip(utterances, answers, reversed_batch, strict=True):
        (alone,) = read(spec, [utterance])
        for found in (alone, other):
            assert (found.text, found.language, found.finish, found.flags) == (
                answer.text,
                answer.language,
                answer.finish,
                answer.flags,
            )
            assert [token[:2] for token in _plain(found)] == [token[:2] for token in _plain(answer)]
            assert [token[2] for token in _plain(found)] == pytest.approx(
                [token[2] for token in _plain(answer)], abs=0.01
            )


def _plain(answer: Hypothesis) -> list[tuple[int, int, float]]:
    return [(token.char_start, token.char_end, token.probability or 0.0) for token in answer.tokens]


def test_tokens_lie_in_the_text_in_order_and_their_times_in_the_clip(
    utterances: list[Utterance], answers: list[Hypothesis]
) -> None:
    for utterance, answer in zip(utterances, answers, strict=True):
        assert answer.text == answer.text.strip()
        edges = [edge for token in answer.tokens for edge in (token.char_start, token.char_end)]
        assert edges == sorted(edges)
        assert not edges or 0 <= edges[0] <= edges[-1] <= len(answer.text)
        covered = {at for token in answer.tokens for at in range(token.char_start, token.char_end)}
        assert all(char.isspace() for at, char in enumerate(answer.text) if at not in covered)
        length_ms = len(utterance.samples) * 1000 // SAMPLE_RATE_HZ
        for token in answer.tokens:
            assert token.probability is None or 0 <= token.probability <= 1
            assert (token.start_ms is None) == (token.end_ms is None)
            assert token.start_ms is None or 0 <= token.start_ms <= token.end_ms <= length_ms
        assert answer.mean_logprob is None or answer.mean_logprob <= 0
        assert answer.finish in ("stop", "length")
        assert all(re.fullmatch(r"[a-z_]+", flag) for flag in answer.flags)


def test_a_given_language_is_kept_and_another_one_detected(
    utterances: list[Utterance], answers: list[Hypothesis]
) -> None:
    for utterance, answer in zip(utterances, answers, strict=True):
        if utterance.language:
            assert (answer.language, answer.language_probability) == (utterance.language, 1.0)
        else:
            assert answer.language is None or re.fullmatch("[a-z]{2,3}", answer.language)
            assert answer.language_probability is None or 0 <= answer.language_probability <= 1


def test_the_configuration_s_help_names_every_entry() -> None:
    assert _quoted("name", EngineConfig) == {*RECOGNIZERS, "module:Class"}
    assert _quoted("aligners", Config) == {*ALIGNERS, RECOGNIZER_TIMES, "module:Class"}


def _quoted(name: str, section: Any) -> set[str]:
    return set(re.findall(r"'([^']+)'", section.model_fields[name].description.replace("one's", "ones")))
