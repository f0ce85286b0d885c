"""The rebuilt network beside the file that its weights are from."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

from tests.kit.lake import TALK
from tests.kit.sounds import Samples, noise
from tests.kit.works import decoded
from transforms.audio.silero import CONTEXT_SAMPLES, FRAME_SAMPLES, STATE_SHAPE, listen, model_path


def _frames(samples: Samples) -> Samples:
    """(n, 576), each with what came before it."""
    whole = samples[: len(samples) // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
    before = np.concatenate([np.zeros((1, CONTEXT_SAMPLES), dtype=np.float32), whole[:-1, -CONTEXT_SAMPLES:]])
    return np.concatenate([before, whole], axis=1)


def _talk() -> Samples:
    return decoded(TALK)[0][0]


@pytest.mark.parametrize("sound", ["talk", "noise", "silence"])
def test_the_network_says_what_the_file_says(sound: str) -> None:
    samples = {"talk": _talk, "noise": lambda: noise(10.0), "silence": lambda: np.zeros(160_000, np.float32)}[sound]()
    frames, state = _frames(samples), np.zeros(STATE_SHAPE, dtype=np.float32)
    file = onnxruntime.InferenceSession(str(model_path()), providers=["CPUExecutionProvider"])
    theirs, hidden, cell = file.run(None, {"input": frames, "h": state[0], "c": state[1]})
    ours, left = listen(frames, state)
    assert ours.dtype == np.float32
    assert ours.shape == (len(frames),)
    assert np.abs(ours - theirs.reshape(-1)).max() < 1e-5
    np.testing.assert_allclose(left, np.stack([hidden, cell]), rtol=1e-4, atol=1e-4)


def test_frames_at_once_or_one_by_one_are_the_same_bits() -> None:
    frames, state = _frames(_talk())[:100], np.zeros(STATE_SHAPE, dtype=np.float32)
    at_once, after = listen(frames, state)
    for frame, expected in zip(frames, at_once, strict=True):
        (found,), state = listen(frame[None], state)
        assert found == expected
    assert np.array_equal(state, after)
