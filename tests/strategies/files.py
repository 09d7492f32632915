"""Good small files of every kind that the toolkit reads: the seeds of the fuzzing, and what reading each must give."""

from __future__ import annotations

import gzip
import io
import struct

import numpy as np


def npy(array) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def npz(compressed: bool = False, **arrays) -> bytes:
    buffer = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(buffer, **arrays)
    return buffer.getvalue()


def idx(array) -> bytes:
    codes = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}
    array = np.asarray(array)
    head = bytes([0, 0, codes[array.dtype.str[1:]], array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


def pixels(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def safetensors_file() -> bytes:
    from safetensors.numpy import save

    rng = np.random.default_rng(0)
    return save(
        {"0.weight": rng.standard_normal((3, 4)).astype(np.float32), "0.bias": rng.standard_normal(3), "steps": np.array([7]), "half": rng.standard_normal(5).astype(np.float16)}
    )


def onnx_files() -> dict[str, bytes]:
    """Models that use most operators, in several opsets, small enough for thousands of runs a minute."""
    from onnx import helper, numpy_helper
    from strategies.onnx_models import model, node

    rng = np.random.default_rng(1)

    def w(*shape):
        return rng.standard_normal(shape).astype(np.float32)

    def c(value, name):
        return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.asarray(value)))

    shapes = [
        node("Shape", "x", ["s"]),
        c(0, "z"),
        node("Gather", "sz", "n"),
        c([0], "a"),
        node("Unsqueeze", "na", "m"),
        c([-1], "r"),
        node("Concat", "mr", "t", axis=0),
        node("Reshape", "xt", "f"),
    ]
    image = [
        node("Conv", "xkb", "a", pads=[1, 1, 1, 1], strides=[2, 1], group=1), node("BatchNormalization", "apqrs", "n", epsilon=1e-3),
        node("LeakyRelu", "n", "l", alpha=0.2),
        node("MaxPool", "l", "m", kernel_shape=[2, 2], strides=[2, 2]),
        node("AveragePool", "m", "v", kernel_shape=[2, 1], pads=[1, 0, 0, 0]), node("ConvTranspose", "vt", "u", strides=[2, 2]),
        node("GlobalAveragePool", "u", "g"), node("Flatten", "g", "f"), node("Gemm", "fwc", "y", transB=1),
    ]  # fmt: skip
    image_weights = {"k": w(4, 2, 3, 3), "b": w(4), "p": w(4), "q": w(4), "r": w(4), "s": np.abs(w(4)), "t": w(4, 3, 2, 2), "w": w(5, 3), "c": w(5)}
    pieces = [
        node("Split", ["x", "d"], ["p", "q"], axis=1), node("Concat", "qp", "c", axis=1), node("Slice", ["c", "i", "j", "k"], "s"), node("Pad", ["s", "e"], "m", mode="reflect"),
        node("Transpose", "m", "t", perm=[0, 2, 1]), node("Softmax", "t", "u"), node("ReduceMean", "u", "r", axes=[1], keepdims=0), node("Expand", ["r", "h"], "y"),
    ]  # fmt: skip
    piece_constants = {"d": np.array([1, 3]), "i": np.array([0]), "j": np.array([3]), "k": np.array([1]), "e": np.array([0, 0, 1, 0, 0, 1]), "h": np.array([1, 3])}
    smooth = [
        node("Sigmoid", "x", "s"),
        node("Mul", "xs", "a"),
        node("Tanh", "a", "b"),
        node("Clip", ["b", "l", "h"], "c"),
        node("Add", "cd", "e"),
        node("Sub", "ex", "f"),
        node("Max", "fd", "y"),
    ]
    resize = [node("Resize", ["x", "", "t"], "u"), node("Neg", "u", "z"), node("ReduceMax", "z", "y", axes=[2, 3], keepdims=1)]
    models = {
        "mlp": model(
            [node("MatMul", "xw", "a"), node("Add", "ab", "c"), node("Relu", "c", "d"), node("Gemm", "dve", "y", alpha=0.5)],
            (1, 4),
            {"w": w(4, 5), "b": w(5), "v": w(5, 3), "e": w(3)},
            dtype="float32",
        ),
        "open": model([*shapes, node("MatMul", "fw", "y")], (None, 2, 3), {"w": w(6, 2)}, dtype="float32"),
        "image": model(image, (1, 2, 7, 6), image_weights, dtype="float32"),
        "pieces": model(pieces, (1, 4, 3), piece_constants, dtype="float32"),
        "smooth": model(smooth, (None, 6), {"l": np.float32(-0.5), "h": np.float32(0.5), "d": w(6)}, opset=20, dtype="float32"),
        "old": model(
            [node("Flatten", "x", "f"), node("Softmax", "f", "s", axis=1), node("Elu", "s", "e"), node("Unsqueeze", "e", "u", axes=[2]), node("Squeeze", "u", "y", axes=[2])],
            (1, 2, 3),
            opset=9,
            dtype="float32",
        ),
        "resize": model(resize, (1, 2, 3, 3), {"t": np.float32([1, 1, 2, 2])}, opset=17, dtype="float32"),
    }
    files = {name: proto.SerializeToString() for name, proto in models.items()}
    return files | {"mlp, packed": gzip.compress(files["mlp"])}
