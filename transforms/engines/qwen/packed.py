"""Linear layers on x86-64 CPUs, by oneDNN from weights that are packed once.

PyTorch has MKL pack them anew in each call, which costs most where few rows meet many weights (a step of decoding, the
vocabulary), and MKL leaves half of what other makers' CPUs can do unused: 2 to 3 times as long on an AMD EPYC with
AVX-512. The operators are those of torch.compile's frozen CPU graphs (torch/_inductor/fx_passes/mkldnn_fusion.py).
"""

from __future__ import annotations

import platform

import torch

_LEAST_WEIGHTS = 2**17
"""Of a layer: below, the operator's own cost (10 µs) is more than it saves."""


class PackedLinear(torch.nn.Module):
    """What a torch.nn.Linear of float32 computes, to rounding."""

    def __init__(self, layer: torch.nn.Linear) -> None:
        super().__init__()
        self._packed = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), None)
        self.bias = layer.bias

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """(..., inputs) → (..., outputs)."""
        found: torch.Tensor = torch.ops.mkldnn._linear_pointwise(rows, self._packed, self.bias, "none", [], "")
        return found


def pack(network: torch.nn.Module) -> None:
    """Its large linear layers, in place, where that can be done; the others stay as they are."""
    if not can_pack():
        return
    for module in list(network.modules()):
        for name, layer in list(module.named_children()):
            if isinstance(layer, torch.nn.Linear) and _is_worth_it(layer.weight):
                setattr(module, name, PackedLinear(layer))


def can_pack() -> bool:
    """True where the operators are, on CPUs of the kind on which they were tried."""
    has_onednn: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    named = all(hasattr(torch.ops.mkldnn, name) for name in ("_linear_pointwise", "_reorder_linear_weight"))
    return platform.machine() in ("x86_64", "AMD64") and has_onednn and named


def _is_worth_it(weight: torch.Tensor) -> bool:
    return weight.dtype == torch.float32 and weight.numel() >= _LEAST_WEIGHTS
