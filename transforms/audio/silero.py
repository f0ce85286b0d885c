"""Silero VAD v6: the weights of the file that faster-whisper's package carries, on ONNX, in a network that says the
same in a third of the time: the file has convolutions over four places, which are matrix products here."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FRAME_SAMPLES = 512
"""Samples a frame (32 ms): fixed by Silero at 16 kHz, as are the numbers below."""
CONTEXT_SAMPLES = 64
"""Of what came before, ahead of each frame."""
STATE_SHAPE = (2, 1, 1, 128)
"""Of the LSTM: hidden and cell."""
_WINDOW_SAMPLES = 256
_HOP_SAMPLES = 128
_MIRRORED_SAMPLES = 64
"""After the last sample of a frame come those before it, backwards."""
_WINDOWS = 4
"""Spectra of a frame."""
_STRIDES = (1, 2, 2, 1)
"""Of the encoder's convolutions, of three places each with one empty place on both sides."""


def listen(frames: NDArray[np.float32], state: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Frames one after another, with their context (n, 576), and the state that the one before left → the probability
    of speech in each (n,), and the state after the last."""
    ends = frames[:, -2 : -2 - _MIRRORED_SAMPLES : -1]
    whole = np.concatenate([frames, ends], axis=1)
    windows = np.lib.stride_tricks.sliding_window_view(whole, _WINDOW_SAMPLES, axis=1)[:, ::_HOP_SAMPLES]
    given = {"windows": np.ascontiguousarray(windows), "h": state[0], "c": state[1]}
    probabilities, hidden, cell = _session().run(None, given)
    return probabilities, np.stack([hidden, cell])


@functools.cache
def _session() -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(_network(), sess_options=options, providers=["CPUExecutionProvider"])


def _network() -> bytes:
    """Windows → spectra → four dense layers → LSTM → probabilities; rows are frames all the way."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    file = onnx.load(str(model_path())).graph
    (lstm,) = (node for node in file.node if node.op_type == "LSTM")
    weights = {one.name: numpy_helper.to_array(one) for one in file.initializer}
    nodes: list[Any] = []
    held: dict[str, NDArray[Any]] = {}

    def add(kind: str, *inputs: str | NDArray[Any], outputs: tuple[str, ...] = (), **options: Any) -> str:
        """A node, and its only output's name; arrays are its weights."""
        name = f"{kind}_{len(nodes)}"
        names = []
        for place, one in enumerate(inputs):
            if not isinstance(one, str):
                held[f"{name}_{place}"] = one
                one = f"{name}_{place}"
            names.append(one)
        nodes.append(helper.make_node(kind, names, list(outputs or [name]), **options))
        return name

    def shaped(what: str, *shape: int, outputs: tuple[str, ...] = ()) -> str:
        return add("Reshape", what, np.array(shape, dtype=np.int64), outputs=outputs)

    basis = weights["encoder.feature_extractor.forward_basis_buffer"][:, 0]
    real, imaginary = (add("MatMul", "windows", half.T) for half in np.split(basis, 2))
    power = add("Add", add("Mul", real, real), add("Mul", imaginary, imaginary))
    heard, places = shaped(add("Sqrt", power), 0, -1), _WINDOWS
    for layer, stride in enumerate(_STRIDES):
        kernel, bias = (weights[f"encoder.conv_layers.{layer}.{what}"] for what in ("weight", "bias"))
        matrix = dense(kernel, places, stride)
        places = matrix.shape[1] // len(bias)
        heard = add("Relu", add("Gemm", heard, matrix, np.tile(bias, places)))
    input_weights, state_weights, biases = (weights[name] for name in lstm.input[1:4])
    gates = (input_weights, state_weights, biases, "", "h", "c")
    width = STATE_SHAPE[-1]
    add("LSTM", shaped(heard, -1, 1, width), *gates, outputs=("y", "hn", "cn"), hidden_size=width)
    end = (weights["decoder.conv1d.weight"][0], weights["decoder.conv1d.bias"])
    said = add("Sigmoid", add("Gemm", add("Relu", shaped("y", -1, width)), *end))
    shaped(said, -1, outputs=("probabilities",))

    def numbers(name: str, *shape: int | str) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    takes = [numbers("windows", "n", _WINDOWS, _WINDOW_SAMPLES), *(numbers(name, *STATE_SHAPE[1:]) for name in "hc")]
    gives = [numbers("probabilities", "n"), *(numbers(name, *STATE_SHAPE[1:]) for name in ("hn", "cn"))]
    initial = [numpy_helper.from_array(np.ascontiguousarray(weight), name) for name, weight in held.items()]
    graph = helper.make_graph(nodes, "silero", takes, gives, initial)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    serialized: bytes = model.SerializeToString()
    return serialized


def dense(kernel: NDArray[np.float32], places: int, stride: int) -> NDArray[np.float32]:
    """A convolution (outputs, inputs, 3) over so many places, with an empty one on both sides, as one matrix: (places ·
    inputs, places after it · outputs), place by place."""
    outputs, inputs, taps = kernel.shape
    after = (places - 1) // stride + 1
    matrix = np.zeros((places + 2, inputs, after, outputs), dtype=np.float32)
    for place in range(after):
        matrix[stride * place : stride * place + taps, :, place] = kernel.transpose(2, 1, 0)
    return matrix[1:-1].reshape(places * inputs, after * outputs)


def model_path() -> Path:
    """Where it is, found without importing faster_whisper (the silero-vad package needs torch)."""
    found = importlib.util.find_spec("faster_whisper")
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError("VAD needs the model file in the package faster-whisper: pip install faster-whisper")
    return Path(found.submodule_search_locations[0]) / "assets" / "silero_vad_v6.onnx"
