"""The training set: utterances as log-mel features on disk, made in shards that depend on nothing but their seed."""

import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

import numpy as np
import torch
from grammar import word_class
from sounds import Utterance, in_silence, joined, no_speech, speech, with_noise
from transformers import WhisperFeatureExtractor
from voices import RATE_HZ, Speaker

MEL_BINS = 128
GERMAN_SHARE, NO_SPEECH_SHARE = 0.25, 0.06


@dataclass(frozen=True)
class Shard:
    """`count` utterances, all of them decided by `seed`.

    word_limits: the number of words that a sentence must not exceed is drawn from these.
    several: the share of recordings with one or two utterances more in a row.
    """

    seed: int
    count: int
    word_limits: tuple[int, ...] = (2, 4, 7, 12, 12)
    several: float = 0.2


SHARDS = [
    *(Shard(seed, 3000) for seed in range(11, 18)),
    *(Shard(seed, 3000, word_limits=(1, 1, 1, 2, 3), several=0) for seed in (31, 32)),
    Shard(41, 3000, several=1),
]


@dataclass
class Example:
    """An utterance for training: features (frames, 128) at 100 frames a second."""

    words: list[str]
    times_s: list[tuple[float, float]]
    language: str
    frames: int
    features: np.ndarray

    def __post_init__(self) -> None:
        self.word_classes = [word_class(word) for word in self.words]


def feature_extractor() -> WhisperFeatureExtractor:
    return WhisperFeatureExtractor(feature_size=MEL_BINS, sampling_rate=RATE_HZ, hop_length=160, n_fft=400)


def _draw(shard: Shard, speaker: Speaker, rng: Random, noise_rng: np.random.Generator) -> Utterance:
    if rng.random() < NO_SPEECH_SHARE:
        return no_speech(rng, noise_rng)
    language = "German" if rng.random() < GERMAN_SHARE else "English"
    spoken = speech(speaker, rng, language=language, longest=rng.choice(shard.word_limits))
    if rng.random() < shard.several:
        more = [speech(speaker, rng, language=language, longest=8) for _ in range(rng.randint(1, 2))]
        spoken = joined([spoken, *more])
    return with_noise(in_silence(spoken, 0, 0), rng, noise_rng)


def make_shard(shard: Shard, folder: Path) -> None:
    """Write seed.npy (float16, frames of all utterances in a row) and, last, seed.json (one object an utterance)."""
    speaker, extractor = Speaker(), feature_extractor()
    rng, noise_rng = Random(shard.seed), np.random.default_rng(shard.seed)
    features, entries = [], []
    for _ in range(shard.count):
        spoken = _draw(shard, speaker, rng, noise_rng)
        mel = extractor(spoken.samples, sampling_rate=RATE_HZ, padding=False, truncation=False, return_tensors="np")
        features.append(mel["input_features"][0].T.astype(np.float16))
        entry = {"words": spoken.words, "times_s": spoken.times_s, "language": spoken.language}
        entries.append(entry | {"frames": len(features[-1])})
    np.save(folder / f"{shard.seed}.npy", np.concatenate(features))
    (folder / f"{shard.seed}.json").write_text(json.dumps({"shard": asdict(shard), "utterances": entries}))
    print(f"shard {shard.seed}: {shard.count} utterances, {sum(map(len, features)) / 360000:.1f} h", flush=True)


def make_corpus(folder: Path, processes: int) -> None:
    """Make the shards that are not there yet. Each has its own process, since espeak-ng keeps state between calls."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [shard for shard in SHARDS if not (folder / f"{shard.seed}.json").exists()]
    one_thread = {"initializer": torch.set_num_threads, "initargs": (1,)}
    with ProcessPoolExecutor(processes, max_tasks_per_child=1, **one_thread) as pool:
        for made in [pool.submit(make_shard, shard, folder) for shard in missing]:
            made.result()


def load_corpus(folder: Path) -> list[Example]:
    """All utterances of all shards, their features mapped from disk."""
    examples = []
    for shard in SHARDS:
        features = np.load(folder / f"{shard.seed}.npy", mmap_mode="r")
        at = 0
        for entry in json.loads((folder / f"{shard.seed}.json").read_text())["utterances"]:
            examples.append(Example(**entry, features=features[at : at + entry["frames"]]))
            at += entry["frames"]
    return examples
