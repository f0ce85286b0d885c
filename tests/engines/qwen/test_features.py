from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest

from tests.kit.sounds import noise
from transforms.engines.qwen.features import FRAMES_PER_S, LogMel, log_mel, padded_length, shared_log_mel

torch = pytest.importorskip("torch", reason="needs the extra qwen: make setup-qwen")
transformers = pytest.importorskip("transformers", reason="needs the extra qwen: make setup-qwen")


@pytest.fixture(scope="module")
def extractor() -> Any:
    """Whisper's own, with as many bins as Qwen3-ASR has."""
    return transformers.WhisperFeatureExtractor(feature_size=128)


@pytest.fixture(scope="module")
def filters(extractor: Any) -> Any:
    return torch.tensor(extractor.mel_filters, dtype=torch.float32)


@pytest.mark.parametrize("hops", [50, 123, 800])
@pytest.mark.parametrize("kind", ["noise", "tone", "silence"])
def test_whole_hops_are_read_as_whispers_extractor_reads_them(
    extractor: Any, filters: Any, hops: int, kind: str
) -> None:
    count = hops * 160
    tone = np.sin(np.arange(count) * 0.2).astype(np.float32) * 0.5
    samples = {"noise": noise(count / 16_000), "tone": tone, "silence": np.zeros(count, np.float32)}[kind]
    theirs = extractor(samples, sampling_rate=16_000, padding="do_not_pad", truncation=False)["input_features"]
    ours = log_mel(samples, filters)
    assert tuple(ours.shape) == (128, hops)
    assert ours.dtype == torch.float32
    assert np.allclose(ours.numpy(), np.asarray(theirs)[0], atol=1e-4)


@pytest.mark.parametrize(
    ("samples", "frames"),
    [*((count, 50) for count in range(200)), (7999, 50), (8000, 50), (8001, 51), (8160, 51), (16_000, FRAMES_PER_S)],
)
def test_frames_cover_the_clip_and_at_least_half_a_second(filters: Any, samples: int, frames: int) -> None:
    assert padded_length(samples) == frames * 160
    assert padded_length(samples) - samples < 160 or frames == 50
    if samples % 97 in (0, 1) or samples > 200:
        assert log_mel(np.full(samples, 0.1, np.float32), filters).shape[1] == frames


def test_what_a_clip_lacks_to_whole_hops_is_silence(filters: Any) -> None:
    samples = noise(0.6)[:9_001]
    padded = np.concatenate([samples, np.zeros(padded_length(9_001) - 9_001, np.float32)])
    assert torch.equal(log_mel(samples, filters), log_mel(padded, filters))


def test_the_same_array_is_computed_once(filters: Any) -> None:
    samples = noise(1.0)
    found = shared_log_mel(samples, filters)
    assert shared_log_mel(samples, filters) is found
    assert torch.equal(found, log_mel(samples, filters))
    other = shared_log_mel(samples.copy(), filters)
    assert other is not found
    assert torch.equal(other, found)


def test_features_die_with_their_array(filters: Any) -> None:
    keeper = LogMel()
    samples = noise(1.0)
    kept = weakref.ref(keeper(samples, filters))
    gc.collect()
    assert kept() is not None
    del samples
    gc.collect()
    assert kept() is None
    assert not keeper._kept


def test_an_array_in_the_place_of_a_dead_one_has_its_own_features(filters: Any) -> None:
    """Python gives the same id again."""
    keeper, ids = LogMel(), set()
    for level in range(1, 20):
        samples = np.full(8000, level / 100, np.float32)
        ids.add(id(samples))
        assert torch.equal(keeper(samples, filters), log_mel(samples, filters))
        del samples
    assert len(ids) < 19, "else nothing was tried"
