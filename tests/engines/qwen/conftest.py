"""The tiny checkpoints that the project trains itself, and speech in voices that they never heard."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import soundfile

from transforms.engines import Samples

pytest.importorskip("torch", reason="needs the extra qwen: make setup-qwen")
pytest.importorskip("qwen_asr", reason="needs the extra qwen: make setup-qwen")

TINY = Path(__file__).parents[3] / "examples" / "tiny_qwen"


class Clip(NamedTuple):
    name: str
    samples: Samples
    language: str | None
    reference: str
    words: tuple[tuple[str, int, int], ...]
    """(word, start_ms, end_ms)"""


@pytest.fixture(scope="session")
def clips() -> dict[str, Clip]:
    """The recordings of examples/tiny_qwen/speech by name, with what is said in them and when."""
    folder = TINY / "speech"
    words: dict[str, list[tuple[str, int, int]]] = {}
    for row in _rows(folder / "words.tsv"):
        words.setdefault(row["uri"], []).append((row["word"], int(row["start_ms"]), int(row["end_ms"])))
    return {
        Path(row["uri"]).stem: Clip(
            Path(row["uri"]).stem,
            soundfile.read(folder / row["uri"], dtype="float32")[0],
            row["language"] or None,
            row["reference"],
            tuple(words.get(row["uri"], ())),
        )
        for row in _rows(folder / "recordings.tsv")
    }


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


@pytest.fixture(scope="session")
def sentences(clips: dict[str, Clip]) -> list[Clip]:
    """Those of at most 8 s in which something is said."""
    return [clip for clip in clips.values() if clip.reference and len(clip.samples) <= 8 * 16_000]


@pytest.fixture(scope="session")
def recognizer() -> Any:
    from transforms.engines.qwen.recognizer import QwenSpec

    return QwenSpec(model=str(TINY / "recognizer")).checked().load()


@pytest.fixture(scope="session")
def aligner() -> Any:
    from transforms.engines.qwen.aligner import QwenAlignerSpec

    return QwenAlignerSpec(model=str(TINY / "aligner")).checked().load()


@pytest.fixture(scope="session")
def package_recognizer(recognizer: Any) -> Any:
    """The package's own `Qwen3ASRModel` on the same checkpoint; given the right end tokens, which it has written in."""
    import torch
    from qwen_asr import Qwen3ASRModel

    package = Qwen3ASRModel.from_pretrained(str(TINY / "recognizer"), dtype=torch.float32, max_new_tokens=64)
    generate = package.model.generate
    package.model.generate = lambda **inputs: generate(eos_token_id=sorted(recognizer._network.end_ids), **inputs)
    return package


@pytest.fixture(scope="session")
def package_aligner() -> Any:
    import torch
    from qwen_asr import Qwen3ForcedAligner

    return Qwen3ForcedAligner.from_pretrained(str(TINY / "aligner"), dtype=torch.float32)
