"""Readings of an utterance that grows: each is what a reading of the whole gives, at the cost of what is new."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.engines.qwen.conftest import Clip
from transforms.engines import Growth, Hypothesis, Utterance

RATE = 16_000


@pytest.fixture(scope="module")
def speech(sentences: list[Clip]) -> Any:
    """Half a minute in one language, the sentences one after the other."""
    parts = [clip.samples for clip in sentences if clip.language == "en"]
    return np.resize(np.concatenate(parts), 30 * RATE).astype(np.float32)


def same(found: Hypothesis, expected: Hypothesis) -> None:
    assert (found.text, found.language, found.finish) == (expected.text, expected.language, expected.finish)
    assert found.token_count == expected.token_count
    assert found.mean_logprob == pytest.approx(expected.mean_logprob, abs=1e-3)
    assert [token.probability for token in found.tokens] == pytest.approx(
        [token.probability for token in expected.tokens], abs=1e-2
    )


@pytest.mark.parametrize("language", [None, "en"])
def test_a_reading_that_goes_on_is_that_of_all(recognizer: Any, speech: Any, language: str | None) -> None:
    growth = Growth()
    texts = set()
    for end_s in [0.4, 0.9, 1.5, 3, 5, 8, 8.9, 9.1, 9.5, 12, 16.2, 17.1, 24, 29.97]:
        so_far = speech[: int(end_s * RATE)]
        (found,) = recognizer.recognize([Utterance(so_far, language, "names", growth=growth)])
        (expected,) = recognizer._recognize([Utterance(so_far, language, "names")])
        same(found, expected)
        texts.add(found.text)
    assert len(texts) > 8
    assert growth.kept.frames == 3 * 800


def test_a_second_more_costs_the_same_in_a_long_utterance(
    recognizer: Any, speech: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = recognizer._network
    encoded: list[int] = []
    passes: list[int] = []
    encode, hidden = network.encode, network.hidden
    monkeypatch.setattr(
        network, "encode", lambda features: encoded.extend(clip.shape[1] for clip in features) or encode(features)
    )
    monkeypatch.setattr(network, "hidden", lambda rows, *rest: passes.append(rows.shape[1]) or hidden(rows, *rest))
    growth = Growth()
    steps, lengths = [], []
    for end_s in np.arange(1, 30, 0.5):
        before = len(passes)
        (found,) = recognizer.recognize([Utterance(speech[: int(end_s * RATE)], growth=growth)])
        growth.standing = found.text[: max(0, found.text.rfind(" ", 0, -12))]
        # The audio that is not in whole windows, and what the answer has, in one pass; then what is new of it.
        assert passes[before] <= 13 * 9 + 20 + lengths[-1] if lengths else True
        steps.append(len(passes) - before)
        lengths.append(found.token_count)
    assert max(encoded) <= 950 and len(encoded) == len(steps)
    assert np.mean(steps[30:]) < 0.3 * np.mean(lengths[30:])


def test_what_stands_is_not_read_again(recognizer: Any, speech: Any) -> None:
    growth = Growth()
    (first,) = recognizer.recognize([Utterance(speech[: 6 * RATE], growth=growth)])
    words = first.text.split()
    growth.standing = " ".join(words[:3])
    # As if another word had been read there: what stands stays, whatever is heard now.
    (other,) = recognizer.recognize([Utterance(speech[20 * RATE : 27 * RATE].copy(), growth=growth)])
    assert other.text.startswith(growth.standing)
    (free,) = recognizer.recognize([Utterance(speech[20 * RATE : 27 * RATE].copy())])
    assert not free.text.startswith(growth.standing)


def test_a_louder_sound_and_another_level_begin_anew(recognizer: Any, speech: Any) -> None:
    soft = speech.copy()
    soft[: 14 * RATE] *= 1e-4
    growth = Growth()
    for samples in (soft[: 13 * RATE], soft[: 16 * RATE], speech[: 17 * RATE], speech[: 20 * RATE]):
        (found,) = recognizer.recognize([Utterance(samples, growth=growth)])
        (expected,) = recognizer._recognize([Utterance(samples)])
        same(found, expected)


def test_company_changes_nothing(recognizer: Any, speech: Any) -> None:
    """Sessions of several lengths, one that begins, and an utterance that is over, in one batch."""
    growths = [Growth(), Growth(), Growth()]
    for step in range(4):
        ends_s = [step + 0.7, 2 * step + 9.5, 0.5 * step + 17.2]
        so_far = [speech[index * RATE : int((index + end_s) * RATE)].copy() for index, end_s in enumerate(ends_s)]
        asked = [Utterance(one, growth=growth) for one, growth in zip(so_far, growths, strict=True)]
        found = recognizer.recognize([asked[0], Utterance(speech[: 4 * RATE]), *asked[1:]])
        expected = [
            *recognizer._recognize([Utterance(so_far[0])]),
            *recognizer._recognize([Utterance(speech[: 4 * RATE])]),
        ]
        expected += [recognizer._recognize([Utterance(one)])[0] for one in so_far[1:]]
        for ours, whole in zip(found, expected, strict=True):
            same(ours, whole)


def test_what_does_not_fit_into_memory_leaves_the_last_reading(
    recognizer: Any, speech: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    growth = Growth()
    recognizer.recognize([Utterance(speech[: 10 * RATE], growth=growth)])
    kept = growth.kept

    def full(*_: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(recognizer._network, "hidden", full)
    with pytest.raises(MemoryError):
        recognizer.recognize([Utterance(speech[: 12 * RATE], growth=growth)])
    assert growth.kept is kept
