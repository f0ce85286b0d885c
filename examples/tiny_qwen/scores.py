"""How good the checkpoints are, through the package's own classes, on voices and speeds never trained on."""

import functools
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from corpus import MEL_BINS
from forward import CHUNK_FRAMES, decode, encode
from grammar import random_words
from network import END_OF_TEXT, TURN_END
from qwen_asr import Qwen3ASRModel
from qwen_asr.core.transformers_backend import modeling_qwen3_asr
from qwen_asr.inference.qwen3_forced_aligner import Qwen3ForcedAligner
from sounds import Utterance, joined, no_speech, speech, with_noise
from voices import RATE_HZ, Speaker

SEED = 4242
BATCH = 16
WORD_COUNTS = [(1, 1), (2, 2), (3, 4), (5, 8), (9, 12)]


@dataclass(frozen=True)
class TestSet:
    name: str
    utterances: list[Utterance]


def make_test_sets(each: int) -> list[TestSet]:
    """Random words by count, grammar, several sentences in a row, and sounds without speech; `each` of every kind."""
    speaker, rng, noise_rng = Speaker(), Random(SEED), np.random.default_rng(SEED)

    def one(language: str, words: list[str] | None = None) -> Utterance:
        return with_noise(speech(speaker, rng, language=language, words=words, heard=False), rng, noise_rng)

    sets = []
    for language in ("English", "German"):
        for low, high in WORD_COUNTS:
            counted = [one(language, random_words(rng, language, rng.randint(low, high))) for _ in range(each)]
            count = f"{low}" if low == high else f"{low}–{high}"
            sets.append(TestSet(f"{language}, {count} {'word' if high == 1 else 'words'} in any order", counted))
        sets.append(TestSet(f"{language}, sentences of the grammar", [one(language) for _ in range(each)]))
    for least_s, most_s in ((6, 8), (8, 12), (12, 20)):
        several = [_of_length(one, rng, least_s, most_s) for _ in range(each // 2)]
        sets.append(TestSet(f"several sentences, {least_s} to {most_s} s", several))
    sets.append(TestSet("no speech", [no_speech(rng, noise_rng) for _ in range(each)]))
    return sets


def _of_length(one: functools.partial, rng: Random, least_s: int, most_s: int) -> Utterance:
    """Sentences of one language in a row until they are long enough; anew where they are too long."""
    while True:
        language = rng.choice(["English", "German"])
        whole = one(language)
        while whole.seconds < least_s:
            whole = joined([whole, one(language)])
        if whole.seconds <= most_s:
            return whole


def attend_within_windows() -> None:
    """Give the package's plain attention the encoder's 8 s windows, which it computes and then leaves unused."""
    attention = modeling_qwen3_asr.Qwen3ASRAudioAttention
    original = attention.forward

    def windowed(
        self: torch.nn.Module, hidden_states: torch.Tensor, cu_seqlens: torch.Tensor, **rest: Any
    ) -> torch.Tensor:
        window = torch.bucketize(torch.arange(len(hidden_states)), cu_seqlens[1:], right=True)
        apart = window[:, None] != window[None]
        rest["attention_mask"] = torch.zeros(1, 1, *apart.shape).masked_fill(apart, torch.finfo(torch.float32).min)
        return original(self, hidden_states, cu_seqlens=cu_seqlens, **rest)

    attention.forward = windowed


def load_recognizer(folder: Path) -> Qwen3ASRModel:
    """The package's recognizer, told the tiny tokenizer's end tokens: its own are those of the large one."""
    recognizer = Qwen3ASRModel.from_pretrained(
        str(folder), dtype=torch.float32, device_map="cpu", max_new_tokens=80, max_inference_batch_size=BATCH
    )
    tokenizer = recognizer.processor.tokenizer
    ends = tokenizer.convert_tokens_to_ids([TURN_END, END_OF_TEXT])
    recognizer.model.generate = functools.partial(
        recognizer.model.generate, eos_token_id=ends, pad_token_id=tokenizer.pad_token_id
    )
    return recognizer


def largest_difference(folder: Path) -> float:
    """Between the package's arithmetic and that of forward.py, which trained the checkpoint; of outputs of about 1.

    Compares on noise of 12.3 s, after attend_within_windows().
    """
    thinker = load_recognizer(folder).model.thinker
    noise = torch.randn(1, 1230, MEL_BINS, generator=torch.Generator().manual_seed(SEED))
    padded = torch.nn.functional.pad(noise, (0, 0, 0, -noise.shape[1] % CHUNK_FRAMES))
    with torch.no_grad():
        encoded, real = encode(thinker.audio_tower, padded, [noise.shape[1]], windowed=True)
        audio = thinker.get_audio_features(noise.transpose(1, 2), torch.ones(noise.shape[:2], dtype=torch.long))
        text = thinker.model(inputs_embeds=audio[None]).last_hidden_state
        differences = [encoded[real] - audio, decode(thinker.model, audio[None])[-1] - text]
    return max(difference.abs().max().item() for difference in differences)


def word_errors(reference: list[str], heard: list[str]) -> int:
    """Edit distance in words."""
    row = list(range(len(heard) + 1))
    for at, word in enumerate(reference, start=1):
        diagonal, row[0] = row[0], at
        for column, other in enumerate(heard, start=1):
            diagonal, row[column] = row[column], min(diagonal + (word != other), row[column] + 1, row[column - 1] + 1)
    return row[-1]


def _bare(text: str) -> list[str]:
    return [word.strip(".,?").lower() for word in text.split()]


def score_recognizer(folder: Path, sets: list[TestSet]) -> list[str]:
    """Rows of a Markdown table."""
    recognizer = load_recognizer(folder)
    rows = ["| set | clips | word error rate | exact, marks too | language right |", "|---|---|---|---|---|"]
    for test in sets:
        results = recognizer.transcribe([(spoken.samples, RATE_HZ) for spoken in test.utterances])
        pairs = list(zip(test.utterances, results, strict=True))
        clips = len(pairs)
        if not test.utterances[0].words:
            empty = sum(not result.text and not result.language for _, result in pairs)
            rows.append(f"| {test.name} | {clips} | – | – | `None`: {empty} of {clips} |")
            continue
        errors = sum(word_errors(_bare(spoken.text), _bare(result.text)) for spoken, result in pairs)
        words = sum(len(spoken.words) for spoken in test.utterances)
        exact = sum(spoken.text == result.text for spoken, result in pairs)
        language = sum(spoken.language == result.language for spoken, result in pairs)
        shares = f"{errors / words:.1%} | {exact / clips:.0%} | {language / clips:.0%}"
        rows.append(f"| {test.name} | {clips} | {shares} |")
    return rows


def score_aligner(folder: Path, sets: list[TestSet]) -> list[str]:
    """Rows of a Markdown table: errors of the times that the true text gets."""
    aligner = Qwen3ForcedAligner.from_pretrained(str(folder), dtype=torch.float32, device_map="cpu")
    rows = ["| set | words | start error, median | 90 % | end error, median | 90 % |", "|---|---|---|---|---|---|"]
    for test in sets:
        starts, ends = [], []
        for at in range(0, len(test.utterances), BATCH):
            batch = [spoken for spoken in test.utterances[at : at + BATCH] if spoken.words]
            if not batch:
                continue
            aligned = aligner.align(
                [(spoken.samples, RATE_HZ) for spoken in batch], [s.text for s in batch], [s.language for s in batch]
            )
            for spoken, words in zip(batch, aligned, strict=True):
                for word, (start_s, end_s) in zip(words, spoken.times_s, strict=True):
                    starts.append(abs(word.start_time - start_s))
                    ends.append(abs(word.end_time - end_s))
        if starts:
            errors_ms = [1000 * np.quantile(errors, share) for errors in (starts, ends) for share in (0.5, 0.9)]
            figures = [f"{error:.0f} ms" for error in errors_ms]
            rows.append(f"| {test.name} | {len(starts)} | {' | '.join(figures)} |")
    return rows
