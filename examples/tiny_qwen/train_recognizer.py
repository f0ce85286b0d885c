"""The tiny recognizer: teacher forcing on `language English<asr_text>Where is Anna?`."""

from pathlib import Path
from random import Random

import torch
import torch.nn.functional as F
from corpus import Example
from forward import audio_tokens, decode, use_one_fast_thread
from grammar import WORDS
from learning import Plan, SideHeads, heard, padded, train
from network import ASR_TEXT, AUDIO, END_OF_TEXT, TURN_END, make_model, make_processor, save

PLAN = Plan(steps=3000, rate=2e-3, longest_s=20)
SEED = 0
CONTEXT_SHARE = 0.25  # of prompts that carry a context of some words
IGNORED = -100


class RecognizerTask:
    """Batches to losses."""

    def __init__(self, rng: Random) -> None:
        self.processor = make_processor()
        self.tokenizer = self.processor.tokenizer
        self.model = make_model(self.tokenizer, aligner=False)
        self.side = SideHeads()
        self._rng = rng
        ids = self.tokenizer.convert_tokens_to_ids([AUDIO, TURN_END, END_OF_TEXT])
        self._audio, self._turn_end, self._padding = ids
        self._empty_prompt = self._prompt("")

    def _prompt(self, context: str) -> tuple[list[int], list[int]]:
        """Token ids before and after the audio."""
        turns = [{"role": "system", "content": context}, {"role": "user", "content": [{"type": "audio", "audio": ""}]}]
        text = self.processor.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
        before, after = text.split(AUDIO)
        return self.tokenizer.encode(before), self.tokenizer.encode(after)

    def _drawn_prompt(self) -> tuple[list[int], list[int]]:
        if self._rng.random() >= CONTEXT_SHARE:
            return self._empty_prompt
        words = self._rng.sample(sorted(set(WORDS["English"] + WORDS["German"])), self._rng.randint(1, 6))
        return self._prompt(self._rng.choice([" ", ", "]).join(words))

    def _row(self, example: Example) -> tuple[list[int], list[int]]:
        """The token ids of one training text, and what each of them should be predicted as."""
        before, after = self._drawn_prompt()
        answer = self.tokenizer.encode(f"language {example.language}{ASR_TEXT}{' '.join(example.words)}")
        # A short tail after the end: a decoder that knows no end token of ours then repeats it, which shows as nothing.
        answer += [self._turn_end] + [self._padding] * self._rng.choice([2, 2, 4, 12])
        ids = before + [self._audio] * audio_tokens(example.frames) + after + answer
        return ids, [IGNORED] * (len(ids) - len(answer)) + answer

    def losses(self, batch: list[Example]) -> tuple[torch.Tensor, list[torch.Tensor], float]:
        """Cross-entropy of the answer's tokens, the losses on the side, and the share of tokens predicted right."""
        thinker = self.model.thinker
        encoded, real = heard(thinker.audio_tower, batch, self._rng)
        rows = [self._row(example) for example in batch]
        ids = padded([ids for ids, _ in rows], self._padding)
        wanted = padded([labels for _, labels in rows], IGNORED)
        is_audio = ids == self._audio
        embedded = thinker.model.embed_tokens(ids).masked_scatter(is_audio.unsqueeze(-1), encoded[real])
        layers = decode(thinker.model, embedded)
        scored = wanted[:, 1:] != IGNORED
        logits, targets = thinker.lm_head(layers[-1][:, :-1][scored]), wanted[:, 1:][scored]
        right = (logits.argmax(-1) == targets).float().mean().item()
        side = self.side.losses(batch, encoded, real, layers[1][is_audio], layers[2][is_audio])
        return F.cross_entropy(logits, targets), side, right


def train_recognizer(examples: list[Example], folder: Path, plan: Plan = PLAN) -> None:
    """Write the checkpoint to `folder`, and after half of the steps one to `folder`.part."""
    use_one_fast_thread()
    torch.manual_seed(SEED)
    rng = Random(SEED)
    task = RecognizerTask(rng)
    parameters = [*task.model.thinker.parameters(), *task.side.parameters()]

    def save_half() -> None:
        save(task.model, task.processor, folder.with_name(folder.name + ".part"))

    train(parameters, examples, plan, rng, task.losses, save_half)
    save(task.model, task.processor, folder)
