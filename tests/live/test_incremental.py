"""Live speech read by the engine qwen, whose readings go on from one another."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from schemas.config import SAMPLE_RATE_HZ, load_config
from tests.kit.lake import ROOT
from tests.live.made import Served, serving
from tests.live.test_stream import end, of, pcm16, say, session, spoken

soundfile = pytest.importorskip("soundfile")
pytest.importorskip("qwen_asr", reason="needs the extra qwen: make setup-qwen")
TINY = ROOT / "examples" / "tiny_qwen"


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    pairs = [f"engine.options.model={TINY / 'recognizer'}", f"aligner_options.qwen.model={TINY / 'aligner'}"]
    more = ["serve.partial_s=0.2", "packing.max_chunk_s=20", "packing.max_gap_s=3"]
    with serving(load_config(str(TINY / "config.yaml"), [*pairs, *more])) as served:
        yield served


@pytest.fixture(scope="module")
def speech() -> Any:
    """Sentences with pauses shorter than those that end an utterance: it is longer than the encoder's windows."""
    names = ["dog_and_cat", "red_house", "green_window", "numbers", "please_dont"]
    parts = [soundfile.read(TINY / "speech" / f"{name}.flac", dtype="float32")[0] for name in names]
    return np.concatenate(parts)[: 16 * SAMPLE_RATE_HZ]


def test_an_utterance_longer_than_a_window_is_read_on_and_ends_as_if_read_at_once(
    served: Served, speech: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transforms.engines.qwen.growing import Growing

    read, frames = Growing.read, list[int]()

    def watched(growing: Growing, utterances: Any, *rest: Any) -> Any:
        found = read(growing, utterances, *rest)
        frames.extend(utterance.growth.kept.frames for utterance in utterances)
        return found

    monkeypatch.setattr(Growing, "read", watched)
    with session(served, "silence_ms=5000") as socket:
        for first in range(0, len(speech), SAMPLE_RATE_HZ // 2):
            say(socket, pcm16(speech[first : first + SAMPLE_RATE_HZ // 2]))
            threading.Event().wait(0.15)
        live = end(socket)
    at_once = spoken(served, pcm16(speech), "silence_ms=5000")
    assert of("final", live) == of("final", at_once)
    stable = [partial["stable"] for partial in of("partial", live)]
    assert all(after.startswith(before) for before, after in zip(stable, stable[1:], strict=False))
    assert len(stable) > 4 and len(stable[-1].split()) > 4
    assert max(frames) == 800


def test_sessions_at_once_say_what_each_says_alone(served: Served, speech: Any) -> None:
    cuts = [pcm16(speech[start * SAMPLE_RATE_HZ :][: 6 * SAMPLE_RATE_HZ]) for start in (0, 2, 5, 8)]
    alone = [of("final", spoken(served, one)) for one in cuts]
    found: list[Any] = [None] * len(cuts)

    def speak(index: int) -> None:
        with session(served) as socket:
            for first in range(0, len(cuts[index]), 16_000):
                say(socket, cuts[index][first : first + 16_000])
                threading.Event().wait(0.1)
            found[index] = of("final", end(socket))

    at_once = [threading.Thread(target=speak, args=(index,)) for index in range(len(cuts))]
    for thread in at_once:
        thread.start()
    for thread in at_once:
        thread.join()
    assert [[one["text"] for one in finals] for finals in found] == [
        [one["text"] for one in finals] for finals in alone
    ]
    assert any(finals for finals in alone)
