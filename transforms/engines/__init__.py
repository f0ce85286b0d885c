"""The two plug-points: a recognizer turns audio into text, an aligner gives that text's words their times.

To add an engine: copy `whisper.py` (or `sphinx.py` for an aligner), keep the contract below, and add its line to
RECOGNIZERS or ALIGNERS. One's own engine needs no line here: name it `package.module:Class` in the configuration;
`Class(**engine.options)` must be a spec.

A *spec* is small, frozen, hashable and picklable. It is made and checked on the driver; `load()` runs once in each
Python worker, and the loaded engine is kept for later tasks of that worker. Heavy imports belong inside `load()` and
below it.
"""

from __future__ import annotations

import gc
import importlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from schemas.config import AUTO_PER_CHUNK, Config, ConfigError
from transforms.engines.gpu import gpu_address
from transforms.engines.resident import Resident, new_thread
from transforms.errors import MachineError
from transforms.text.tokens import Token, WordTimes

RECOGNIZERS = {
    "qwen": "transforms.engines.qwen.recognizer:QwenSpec",
    "vllm": "transforms.engines.vllm.recognizer:VllmSpec",
    "whisper": "transforms.engines.whisper:WhisperSpec",
}
ALIGNERS = {
    "qwen": "transforms.engines.qwen.aligner:QwenAlignerSpec",
    "sphinx": "transforms.engines.sphinx:SphinxSpec",
    "vllm": "transforms.engines.vllm.aligner:VllmAlignerSpec",
}
RECOGNIZER_TIMES = "recognizer"
"""The aligner name that stands for the recognizer's own times; it needs no engine."""

Samples = NDArray[np.float32]


class EngineLost(MachineError):
    """The engine cannot go on in this process: a dead device, out of memory at batch size 1."""


@dataclass(eq=False)
class Growth:
    """Of an utterance that is still being said, and read again as it grows. `standing`: how its text begins, of which
    nothing may change any more. `kept`: what the engine holds of the last reading for the next."""

    standing: str = ""
    kept: Any = None


@dataclass(frozen=True)
class Utterance:
    """One stretch of speech to recognize: 16 kHz mono float32 in [-1, 1], 1-D and contiguous; `language` as
    schemas.languages.code gives it, or None to detect it. `speech`: the samples [start, end) that VAD heard speech in,
    None where it was not asked; no engine needs it. `growth`: an engine may go on from there, or read all anew."""

    samples: Samples
    language: str | None = None
    context: str | None = None
    speech: tuple[tuple[int, int], ...] | None = None
    growth: Growth | None = None


@dataclass(frozen=True)
class Alternative:
    """Another reading of an utterance; `logprob` is the natural logarithm of the whole answer's probability."""

    text: str
    logprob: float


@dataclass(frozen=True)
class Hypothesis:
    """What a recognizer read in one utterance.

    `text` is stripped, and '' where nothing was said. `finish` is 'length' if the text was cut at the token limit.
    `mean_logprob` is the natural logarithm of the tokens' probability, averaged; `language` a normal code,
    `language_probability` 1.0 where it was given. `alternatives`: the best readings, `text` the first of them; empty
    unless the engine was asked for more than one.
    """

    text: str
    language: str | None
    language_probability: float | None
    tokens: tuple[Token, ...]
    token_count: int
    mean_logprob: float | None
    no_speech_probability: float | None = None
    finish: Literal["stop", "length"] = "stop"
    flags: tuple[str, ...] = ()
    alternatives: tuple[Alternative, ...] = ()


@runtime_checkable
class Recognizer(Protocol):
    def recognize(self, utterances: Sequence[Utterance]) -> list[Hypothesis]:
        """One hypothesis an utterance, in order. A result does not depend on the other utterances.

        Raises EngineLost (or MemoryError, after which the caller halves the batch) for what another try elsewhere may
        mend; any other exception is taken to be the utterance's own fault.
        """
        ...


@dataclass(frozen=True)
class AlignmentRequest:
    """A text and the audio that says it: `words` are the (char_start, char_end) of the words in `text`, in order."""

    samples: Samples
    text: str
    words: tuple[tuple[int, int], ...]
    language: str | None


@runtime_checkable
class AtWork(Protocol):
    """A recognizer or aligner that takes items at any time and computes all of them together, in place of
    `recognize` or `align`. It is called from one thread."""

    def reset(self) -> None:
        """Forgets all that is not done: whoever asked for it is gone."""
        ...

    def submit(self, id: int, item: Any) -> None:
        """Takes an Utterance or an AlignmentRequest. What it raises is taken to be the item's own fault."""
        ...

    def step(self) -> list[tuple[int, Any]]:
        """Goes on for a moment. Returns (id, answer) of what is done now, in any order; an answer depends on its item
        alone. Raises EngineLost if it cannot go on."""
        ...


@runtime_checkable
class Aligner(Protocol):
    def align(self, requests: Sequence[AlignmentRequest]) -> list[WordTimes | None]:
        """One list a request, in order, as long as its words; None for a request that cannot be aligned (the next
        aligner is asked then)."""
        ...


class EngineSpec(Protocol):
    """What a name in the configuration stands for. `key` holds whatever changes the result, as JSON values; it becomes
    part of run_key. Equal specs are one engine to a process."""

    def __hash__(self) -> int: ...

    @property
    def key(self) -> Mapping[str, Any]: ...

    def checked(self) -> Self:
        """The spec to run with, made on the driver: whatever may change (a hub's newest revision) is pinned in it.

        Raises ConfigError if the engine could not be loaded: names the missing package or file and the command that
        brings it.
        """
        ...

    @property
    def longest_s(self) -> float | None:
        """The longest utterance that the engine takes, in seconds; None for any."""
        ...

    @property
    def languages(self) -> frozenset[str] | None:
        """The normal codes (schemas.languages) of what the engine speaks; None for any, or where only the loaded
        model knows."""
        ...

    def load(self) -> Any:
        """The engine. It is loaded and called in a thread of its own; those whose specs have the same attribute
        `thread`, a name, live in one and take turns."""
        ...


AlignerSpec = EngineSpec


def longest_s(spec: EngineSpec) -> float | None:
    """What `spec.longest_s` says; None where one's own engine says nothing."""
    return getattr(spec, "longest_s", None)


def languages_of(spec: EngineSpec) -> frozenset[str] | None:
    """What `spec.languages` says; None where one's own engine says nothing."""
    return getattr(spec, "languages", None)


def recognizer_spec(config: Config) -> EngineSpec:
    """The checked spec of the configured recognizer. Raises ConfigError, also for what the configuration asks of it and
    it cannot do."""
    spec: EngineSpec = _spec(config.engine.name, RECOGNIZERS, config.engine.options)
    name, most_s, known = config.engine.name, longest_s(spec), languages_of(spec)
    if most_s is not None and config.packing.max_chunk_s > most_s:
        raise ConfigError(
            f"packing.max_chunk_s is {config.packing.max_chunk_s:g}, but engine '{name}' takes at most {most_s:g} s "
            "at once: lower it"
        )
    if config.language not in (None, AUTO_PER_CHUNK) and known is not None and config.language not in known:
        raise ConfigError(
            f"language is '{config.language}', which engine '{name}' does not speak: "
            f"it speaks {', '.join(sorted(known))}"
        )
    return spec


def aligner_specs(config: Config) -> tuple[tuple[str, AlignerSpec | None], ...]:
    """(name, checked spec) of each configured aligner in order; the spec of 'recognizer' is None. Raises
    ConfigError."""
    return tuple(
        (name, None if name == RECOGNIZER_TIMES else _spec(name, ALIGNERS, config.aligner_options.get(name, {})))
        for name in config.aligners
    )


def fitted(config: Config, aligners: Sequence[tuple[str, AlignerSpec | None]]) -> Config:
    """`config` with chunks that each of `aligners` takes: packing cuts longer speech where it is quiet, and every word
    can be timed."""
    limits = [longest for _, spec in aligners if spec is not None and (longest := longest_s(spec)) is not None]
    longest = min([config.packing.max_chunk_s, *limits])
    return config.model_copy(update={"packing": config.packing.model_copy(update={"max_chunk_s": longest})})


def _spec(name: str, known: Mapping[str, str], options: Mapping[str, Any]) -> Any:
    path = known.get(name, name)
    module_name, colon, class_name = path.partition(":")
    if not colon:
        raise ConfigError(
            f"unknown engine '{name}': use one of {', '.join(sorted(known))}, or module:Class for your own"
        )
    try:
        spec = getattr(importlib.import_module(module_name), class_name)(**options)
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"engine '{name}' cannot be imported: {error}; is its module on the path of driver and executors?"
        ) from error
    except TypeError as error:
        raise ConfigError(f"engine '{name}' does not take the options {dict(options)}: {error}") from error
    return spec.checked()


_loaded: dict[Any, Resident] = {}
_shared_threads: defaultdict[str, ThreadPoolExecutor] = defaultdict(new_thread)
_loaded_for: str | None = None
"""The address of the GPU that the engines of this process were loaded for."""


def load_once(spec: EngineSpec) -> Resident:
    """The loaded engine of this process, made at the first call with an equal spec. Not for use from several threads at
    once.

    A Python worker may get another GPU with each task: engines that were loaded for another one are dropped first, so
    that no task computes on a device that is not its own.
    """
    global _loaded_for
    address = gpu_address()
    if _loaded and address != _loaded_for:
        unload()
    _loaded_for = address
    if spec not in _loaded:
        shared = getattr(spec, "thread", None)
        _loaded[spec] = Resident(spec.load, None if shared is None else _shared_threads[shared])
    return _loaded[spec]


def unload() -> None:
    """Drops the engines of this process: those that cannot go on."""
    _loaded.clear()
    gc.collect()  # models hold themselves in cycles, and their memory is wanted


def check_counts(what: str, given: int, got: int) -> None:
    """N in, N out at every seam."""
    if given != got:
        raise RuntimeError(f"{what} was given {given} items and returned {got}: it must return one an item, in order")
