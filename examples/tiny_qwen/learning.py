"""What both trainings share: batches, losses on the side, and the loop over a fixed number of steps."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

import numpy as np
import torch
import torch.nn.functional as F
from corpus import MEL_BINS, Example
from forward import CHUNK_FRAMES, encode, token_times_s
from grammar import WORD_CLASS
from network import WIDTH

MOST_WORDS = 40
DECODER_DELAY_S = 0.16  # the decoder sees no later token, so it may answer two tokens late
WINDOWED_SHARE = 0.85  # of batches; the others attend over everything, as the package's plain attention does
WARM_UP_STEPS = 100
SIDE_WEIGHT = 0.3  # at the first step; fades to 0
FIRST_LIMIT_S, GROWTH = 3, 0.4  # the longest recording in a batch grows from 3 s over the first 40 % of the steps


@dataclass(frozen=True)
class Plan:
    """How long and how fast to train.

    rate: the highest learning rate. longest_s: longer recordings are left out. batch_s: seconds of padded audio in one.
    """

    steps: int
    rate: float
    longest_s: int
    batch_s: int = 96


class SideHeads(torch.nn.Module):
    """Heads that are thrown away afterwards.

    They teach the audio tokens which word they are in, and the decoder to count and to carry words forward; so the
    network finds the words much sooner than from the text alone.
    """

    def __init__(self) -> None:
        super().__init__()
        words = len(WORD_CLASS) + 1
        self.heard = torch.nn.Linear(WIDTH, words)
        self.under_way = torch.nn.Linear(WIDTH, words)
        self.last = torch.nn.Linear(WIDTH, words)
        self.one_before = torch.nn.Linear(WIDTH, words)
        self.count = torch.nn.Linear(WIDTH, MOST_WORDS)

    def losses(
        self, batch: list[Example], encoded: torch.Tensor, real: torch.Tensor, second: torch.Tensor, third: torch.Tensor
    ) -> list[torch.Tensor]:
        """Losses of the word heard, the word under way, the last two words, and the number of words begun.

        encoded (batch, tokens, width) with its mask `real` (batch, tokens); second, third: the real tokens in a row,
        (all tokens, width), after those layers of the decoder.
        """
        at_once = torch.tensor(np.stack([_labels(example, real.shape[1], 0.0) for example in batch], 1))
        late = torch.tensor(np.stack([_labels(example, real.shape[1], DECODER_DELAY_S) for example in batch], 1))
        under_way, last, one_before, count = late[:, real]
        return [
            F.cross_entropy(self.heard(encoded[real]), at_once[0][real]),
            F.cross_entropy(self.under_way(second), under_way),
            (F.cross_entropy(self.last(third), last) + F.cross_entropy(self.one_before(third), one_before)) / 2,
            F.cross_entropy(self.count(third), count) * 0.3,
        ]


def _labels(example: Example, tokens: int, delay_s: float) -> np.ndarray:
    """(4, tokens): for every audio token the word under way, the last begun, the one before it, how many have begun."""
    labels = np.zeros((4, tokens), np.int64)
    now = token_times_s(tokens).numpy() - delay_s
    before = 0
    for number, ((start, end), word) in enumerate(zip(example.times_s, example.word_classes, strict=True), start=1):
        labels[0, (now >= start) & (now < end)] = word
        labels[1:, now >= start] = [[word], [before], [min(number, MOST_WORDS - 1)]]
        before = word
    return labels


def collate(batch: list[Example], rng: Random) -> tuple[torch.Tensor, list[int]]:
    """Features (batch, seconds * 100, 128), padded to whole seconds, with a random level and up to two masked bands."""
    seconds = max(-(-example.frames // CHUNK_FRAMES) for example in batch)
    padded = torch.zeros(len(batch), seconds * CHUNK_FRAMES, MEL_BINS)
    for row, example in zip(padded, batch, strict=True):
        features = torch.from_numpy(np.asarray(example.features, dtype=np.float32)) + rng.uniform(-0.15, 0.15)
        for _ in range(rng.randint(0, 2)):
            low, width = rng.randrange(MEL_BINS), rng.randint(1, 16)
            features[:, low : low + width] = features.mean()
        row[: example.frames] = features
    return padded, [example.frames for example in batch]


def heard(audio_tower: torch.nn.Module, batch: list[Example], rng: Random) -> tuple[torch.Tensor, torch.Tensor]:
    """The batch through the encoder, mostly within its windows: (batch, tokens, width), and the mask of real tokens."""
    features, frames = collate(batch, rng)
    return encode(audio_tower, features, frames, windowed=rng.random() < WINDOWED_SHARE)


def padded(rows: list[list[int]] | list[list[float]], filler: float) -> torch.Tensor:
    """(rows, longest), each row filled up at its end."""
    longest = max(map(len, rows))
    return torch.tensor([row + [filler] * (longest - len(row)) for row in rows])


def batches(examples: list[Example], rng: Random, plan: Plan) -> Iterator[list[Example]]:
    """One batch a step, of recordings of about the same length; no longer than the limit, which grows."""
    step = 0
    while True:
        limit_s = _length_limit_s(step, plan)
        groups = _grouped([e for e in examples if e.frames <= limit_s * CHUNK_FRAMES], rng, plan.batch_s)
        rng.shuffle(groups)
        for group in groups:
            yield group
            step += 1
            if _length_limit_s(step, plan) >= limit_s + 0.5:
                break


def _length_limit_s(step: int, plan: Plan) -> float:
    return FIRST_LIMIT_S + (plan.longest_s - FIRST_LIMIT_S) * min(1, step / plan.steps / GROWTH)


def _grouped(examples: list[Example], rng: Random, batch_s: int) -> list[list[Example]]:
    rng.shuffle(examples)
    examples.sort(key=lambda example: -(-example.frames // CHUNK_FRAMES) + rng.random() / 2)
    groups: list[list[Example]] = [[]]
    for example in examples:
        if groups[-1] and (len(groups[-1]) + 1) * -(-example.frames // CHUNK_FRAMES) > batch_s:
            groups.append([])
        groups[-1].append(example)
    return groups


def train(
    parameters: list[torch.nn.Parameter],
    examples: list[Example],
    plan: Plan,
    rng: Random,
    losses: Callable[[list[Example]], tuple[torch.Tensor, list[torch.Tensor], float]],
    at_halfway: Callable[[], None],
) -> None:
    """AdamW with a cosine schedule. `losses` gives the main loss, those on the side, and a figure worth logging."""
    decayed = {"params": [p for p in parameters if p.dim() > 1], "weight_decay": 0.02}
    plain = {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0}
    optimizer = torch.optim.AdamW([decayed, plain], lr=plan.rate, betas=(0.9, 0.98))
    source = batches(examples, rng, plan)
    began, log = time.monotonic(), []
    for step in range(plan.steps):
        done = step / plan.steps
        for group in optimizer.param_groups:
            group["lr"] = plan.rate * min(1, (step + 1) / WARM_UP_STEPS) * (1 + math.cos(math.pi * done)) / 2
        main, side, figure = losses(next(source))
        optimizer.zero_grad()
        (main + SIDE_WEIGHT * (1 - done) * sum(side)).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        log.append([main.item(), *(loss.item() for loss in side), figure])
        if (step + 1) % 50 == 0:
            figures = " ".join(f"{value:.3f}" for value in np.mean(log[-50:], axis=0))
            print(f"step {step + 1}, {(time.monotonic() - began) / 60:.1f} min: {figures}", flush=True)
        if step + 1 == plan.steps // 2:
            at_halfway()
