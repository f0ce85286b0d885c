"""The tiny forced aligner: the recognizer's body, and a head of 512 times 80 ms apart, read at `<timestamp>` tokens."""

from pathlib import Path
from random import Random

import torch
from corpus import Example
from forward import audio_tokens, decode, token_times_s, use_one_fast_thread
from learning import Plan, SideHeads, heard, padded, train
from network import (
    AUDIO,
    AUDIO_END,
    AUDIO_START,
    END_OF_TEXT,
    TIME_CLASS_S,
    TIME_CLASSES,
    TIMESTAMP,
    WIDTH,
    make_model,
    make_processor,
    save,
)
from qwen_asr.inference.qwen3_forced_aligner import Qwen3ForceAlignProcessor
from safetensors.torch import load_file

PLAN = Plan(steps=2200, rate=1.5e-3, longest_s=14)
SEED = 0
UNTIMED = float("nan")


class AlignerTask:
    """Batches to losses."""

    def __init__(self, recognizer: Path, rng: Random) -> None:
        self.processor = make_processor()
        self.tokenizer = self.processor.tokenizer
        self.model = make_model(self.tokenizer, aligner=True)
        known = load_file(recognizer / "model.safetensors")
        known = {name.removeprefix("thinker."): weights.float() for name, weights in known.items()}
        body = {name: weights for name, weights in known.items() if "lm_head" not in name}
        self.model.thinker.load_state_dict(body, strict=False)
        self.side = SideHeads()
        # Rotary positions are relative, so each audio token has to learn from its neighbours what time it is.
        self.clock = torch.nn.Linear(WIDTH, TIME_CLASSES)
        self._rng = rng
        names = [AUDIO, AUDIO_START, AUDIO_END, TIMESTAMP, END_OF_TEXT]
        self._ids = dict(zip(names, self.tokenizer.convert_tokens_to_ids(names), strict=True))
        self._clean = Qwen3ForceAlignProcessor().clean_token
        self._spelled: dict[str, list[int]] = {}

    def _word_ids(self, word: str) -> list[int]:
        if word not in self._spelled:
            self._spelled[word] = self.tokenizer.encode(self._clean(word))
        return self._spelled[word]

    def _row(self, example: Example) -> tuple[list[int], list[float]]:
        """Token ids, and at each timestamp token the time in seconds that it stands for."""
        tokens = audio_tokens(example.frames)
        ids = [self._ids[AUDIO_START]] + [self._ids[AUDIO]] * tokens + [self._ids[AUDIO_END]]
        times_s = [UNTIMED] * len(ids)
        for word, (start_s, end_s) in zip(example.words, example.times_s, strict=True):
            spelled = self._word_ids(word)
            ids += [*spelled, self._ids[TIMESTAMP], self._ids[TIMESTAMP]]
            times_s += [UNTIMED] * len(spelled) + [start_s, end_s]
        return ids, times_s

    def losses(self, batch: list[Example]) -> tuple[torch.Tensor, list[torch.Tensor], float]:
        """Cross-entropy of the times, the losses on the side, and the median error in seconds."""
        thinker = self.model.thinker
        encoded, real = heard(thinker.audio_tower, batch, self._rng)
        rows = [self._row(example) for example in batch]
        ids = padded([ids for ids, _ in rows], self._ids[END_OF_TEXT])
        times_s = padded([times for _, times in rows], UNTIMED)
        is_audio, is_time = ids == self._ids[AUDIO], ids == self._ids[TIMESTAMP]
        embedded = thinker.model.embed_tokens(ids).masked_scatter(is_audio.unsqueeze(-1), encoded[real])
        layers = decode(thinker.model, embedded)
        logits, wanted_s = thinker.lm_head(layers[-1][is_time]), times_s[is_time]
        error_s = (logits.argmax(-1) * TIME_CLASS_S - wanted_s).abs().median().item()
        now_s = token_times_s(real.shape[1]).expand(len(batch), -1)[real]
        side = self.side.losses(batch, encoded, real, layers[1][is_audio], layers[2][is_audio])
        side.append(_time_loss(self.clock(layers[2][is_audio]), now_s))
        return _time_loss(logits, wanted_s), side, error_s


def _time_loss(logits: torch.Tensor, times_s: torch.Tensor) -> torch.Tensor:
    """Cross-entropy with the two classes nearest to each time, the nearer one weighing more."""
    position = (times_s / TIME_CLASS_S).clamp(0, TIME_CLASSES - 1.001)
    lower = position.floor().long()
    share = position - lower
    log_probability = logits.log_softmax(-1)
    at_lower, at_upper = (log_probability.gather(1, (lower + step)[:, None])[:, 0] for step in (0, 1))
    return -((1 - share) * at_lower + share * at_upper).mean()


def train_aligner(examples: list[Example], recognizer: Path, folder: Path, plan: Plan = PLAN) -> None:
    """Write the checkpoint to `folder`, and after half of the steps one to `folder`.part."""
    use_one_fast_thread()
    torch.manual_seed(SEED)
    rng = Random(SEED)
    task = AlignerTask(recognizer, rng)
    parameters = [*task.model.thinker.parameters(), *task.side.parameters(), *task.clock.parameters()]

    def save_half() -> None:
        save(task.model, task.processor, folder.with_name(folder.name + ".part"))

    spoken = [example for example in examples if example.words]
    train(parameters, spoken, plan, rng, task.losses, save_half)
    save(task.model, task.processor, folder)
