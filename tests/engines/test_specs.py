"""What a spec says of its engine, and how the driver holds the configuration against it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from schemas.config import ConfigError, load_config
from tests.kit.engine import Spec
from transforms.engines import ALIGNERS, RECOGNIZERS, Utterance, fitted, languages_of, longest_s, recognizer_spec
from transforms.engines.qwen.aligner import QwenAlignerSpec
from transforms.engines.qwen.recognizer import QwenSpec
from transforms.engines.sphinx import SphinxSpec
from transforms.engines.vllm.aligner import VllmAlignerSpec
from transforms.engines.vllm.recognizer import VllmSpec
from transforms.engines.whisper import WhisperSpec
from transforms.errors import RecordingError


@dataclass(frozen=True)
class Modest(Spec):
    """Takes little."""

    longest_s: float | None = 9.5
    languages: frozenset[str] | None = frozenset({"sv", "no"})


def _chosen(*overrides: str) -> object:
    return recognizer_spec(load_config(None, overrides))


def test_every_engine_says_what_it_takes() -> None:
    assert (WhisperSpec().longest_s, QwenSpec().longest_s, QwenAlignerSpec().longest_s) == (30, 1200, 300)
    assert SphinxSpec().longest_s is None
    assert WhisperSpec("tiny.en").languages == {"en"} and len(WhisperSpec().languages) == 99
    assert len(QwenSpec().languages) == 30 and len(QwenAlignerSpec().languages) == 11
    assert VllmSpec().languages == QwenSpec().languages and VllmAlignerSpec().languages == QwenAlignerSpec().languages
    assert (VllmSpec().longest_s, VllmAlignerSpec(max_audio_s=90).longest_s) == (60, 90)
    known = (WhisperSpec, QwenSpec, QwenAlignerSpec, SphinxSpec, VllmSpec, VllmAlignerSpec)
    named = {path.rpartition(":")[2] for path in [*RECOGNIZERS.values(), *ALIGNERS.values()]}
    assert named == {spec.__name__ for spec in known}


def test_chunks_longer_than_the_engine_takes_are_refused_on_the_driver() -> None:
    with pytest.raises(ConfigError, match=r"packing.max_chunk_s is 40, but engine 'whisper' takes at most 30 s"):
        _chosen("packing.max_chunk_s=40")
    assert _chosen("packing.max_chunk_s=30") == WhisperSpec()
    own = "engine.name=tests.engines.test_specs:Modest"
    with pytest.raises(ConfigError, match=r"takes at most 9\.5 s at once: lower it"):
        _chosen(own, "packing.max_chunk_s=10")


def test_chunks_are_no_longer_than_the_least_that_an_aligner_takes() -> None:
    config = load_config(None, ["packing.max_chunk_s=600"])
    aligners = [("sphinx", SphinxSpec()), ("qwen", QwenAlignerSpec()), ("recognizer", None)]
    assert fitted(config, aligners).packing.max_chunk_s == 300
    assert fitted(config, aligners[::2]) == config
    assert fitted(load_config(None, []), aligners).packing.max_chunk_s == 28


def test_a_language_that_the_engine_does_not_speak_is_refused_on_the_driver() -> None:
    own = ("engine.name=tests.engines.test_specs:Modest", "packing.max_chunk_s=9")
    with pytest.raises(ConfigError, match=r"language is 'de', which engine .* does not speak: it speaks no, sv"):
        _chosen(*own, "language=de")
    for language in ("sv", "null", "auto-per-chunk"):
        assert _chosen(*own, f"language={language}") == Modest()


def test_an_engine_of_ones_own_that_says_nothing_takes_all() -> None:
    spec = _chosen("engine.name=tests.kit.engine:Spec", "packing.max_chunk_s=1200", "language=de")
    assert (longest_s(spec), languages_of(spec)) == (None, None)


def test_whisper_refuses_what_would_crash_it() -> None:
    engine = WhisperSpec("tiny.en").load()
    with pytest.raises(RecordingError, match="at most 30 s"):
        engine.recognize([Utterance(np.zeros(30 * 16_000 + 1, np.float32), "en")])
