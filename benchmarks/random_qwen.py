"""Checkpoints of the real architecture with random weights: they run exactly as fast as trained ones, and say nothing.

    python -m benchmarks.random_qwen mid build/qwen-mid            # 52 M parameters, for a CPU
    python -m benchmarks.random_qwen 0.6B build/qwen-0.6B          # and 1.7B, aligner-0.6B: for a GPU

Shapes of the full sizes are those of the released models; the tokenizer is the tiny one of examples/tiny_qwen, with the
vocabulary filled up to the real 151,936.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

TINY = Path(__file__).parents[1] / "examples" / "tiny_qwen"
_VOCABULARY = 151_936
_TIME_CLASSES = 5_000
_AUDIO = "encoder_layers encoder_attention_heads encoder_ffn_dim d_model output_dim downsample_hidden_size".split()
_TEXT = "hidden_size intermediate_size num_hidden_layers num_attention_heads num_key_value_heads head_dim".split()
SHAPES = {
    "mid": ((6, 4, 1024, 256, 256, 96), (256, 1024, 8, 4, 2, 64)),
    "0.6B": ((18, 14, 3584, 896, 1024, 480), (1024, 3072, 28, 16, 8, 128)),
    "1.7B": ((24, 16, 4096, 1024, 2048, 480), (2048, 6144, 28, 16, 8, 128)),
}
"""(audio encoder, text decoder), in the order of the names above."""


def make(size: str, folder: Path, seed: int = 0) -> Path:
    """Writes a checkpoint of a size of SHAPES, or 'aligner-' before it; returns the folder."""
    import torch
    from qwen_asr.core.transformers_backend import Qwen3ASRConfig, Qwen3ASRForConditionalGeneration

    is_aligner = size.startswith("aligner-")
    audio, text = SHAPES[size.removeprefix("aligner-")]
    source = TINY / ("aligner" if is_aligner else "recognizer")
    folder.mkdir(parents=True, exist_ok=True)
    for file in source.iterdir():
        if file.suffix != ".safetensors":
            shutil.copy(file, folder)
    config: dict[str, Any] = json.loads((source / "config.json").read_text())
    thinker = config["thinker_config"]
    thinker["audio_config"].update(zip(_AUDIO, audio, strict=True))
    thinker["audio_config"]["num_hidden_layers"] = audio[0]
    thinker["text_config"].update(zip(_TEXT, text, strict=True))
    thinker["text_config"]["vocab_size"] = _VOCABULARY
    if text[-1] == 128:
        thinker["text_config"]["rope_scaling"]["mrope_section"] = [24, 20, 20]
    else:
        thinker["text_config"]["rope_scaling"]["mrope_section"] = [text[-1] // 2 - 20, 10, 10]
    if is_aligner:
        thinker["classify_num"] = _TIME_CLASSES
    torch.manual_seed(seed)
    model = Qwen3ASRForConditionalGeneration(Qwen3ASRConfig(**config))
    model.to(torch.bfloat16).save_pretrained(folder)
    # Written by hand: saving drops it, and the package finds the aligner's head by it.
    saved = json.loads((folder / "config.json").read_text())
    saved["thinker_config"]["model_type"] = thinker["model_type"]
    (folder / "config.json").write_text(json.dumps(saved, indent=1))
    print(f"{folder}: {sum(p.numel() for p in model.parameters()) / 1e6:.0f} M parameters")
    return folder


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="benchmarks.random_qwen", description=__doc__)
    parser.add_argument("size", choices=[*SHAPES, *(f"aligner-{size}" for size in SHAPES)])
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    make(options.size, options.folder)
