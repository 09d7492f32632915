"""Handlers of layers with weights: linear, convolutions, BatchNorm, matrix products with a constant; dropout."""

from __future__ import annotations

from typing import Any

import numpy as np

from .errors import InputError
from .trace_emit import Call, Traced, translates

Ints = int | tuple[int, ...] | list[int]


def ints(call: Call, value: Any, count: int) -> tuple[int, ...]:
    """An int or a sequence (of one or `count` entries) as a tuple of `count`."""
    values = tuple(value) if isinstance(value, tuple | list) else (value,)
    if len(values) == 1:
        values = values * count
    if len(values) != count or not all(isinstance(v, int) for v in values):
        call.refuse(f"'{call.op}' got a setting that is not an integer per axis", found=value, expected=f"{count} integers")
    return values


def _bias(call: Call, bias: Any) -> dict[str, np.ndarray]:
    return {} if bias is None else {"bias": call.array(bias)}


def dense(call: Call, name: str, weight: np.ndarray, bias: Any = None) -> str:
    if len(call.shape(name)) < 1:
        call.refuse_batch("multiplies the batch axis with a matrix")
    return call.add("dense", [name], {}, {"weight": weight, **_bias(call, bias)})


@translates("linear")
def linear(call: Call, x: Traced, weight: Any, bias: Any = None) -> str:
    w = call.array(weight)
    y = dense(call, x.name, w.reshape(-1, w.shape[-1]), None if bias is None else call.array(bias).reshape(-1))
    return call.reshape(y, call.shape(y)[:-1]) if w.ndim == 1 else y


@translates("conv1d", "conv2d", "conv3d")
def conv(call: Call, x: Traced, weight: Any, bias: Any = None, stride: Ints = 1, padding: Any = 0, dilation: Ints = 1, groups: int = 1) -> str:
    w = call.array(weight)
    n = w.ndim - 2
    if len(x.shape) != n + 1:
        call.refuse_batch("takes the batch axis for channels (the input has no channel axis)")
    steps = ints(call, dilation, n)
    if padding == "valid":
        pairs = [(0, 0)] * n
    elif padding == "same":  # torch puts the odd pixel on the high side
        totals = [d * (k - 1) for d, k in zip(steps, w.shape[2:])]
        pairs = [(t // 2, t - t // 2) for t in totals]
    else:
        pairs = [(p, p) for p in ints(call, padding, n)]
    name, pairs, mode = _absorbed_pad(call, x.name, pairs)
    attrs = {"stride": ints(call, stride, n), "padding": pairs, "dilation": steps, "groups": groups, "mode": mode}
    return call.add("conv", [name], attrs, {"weight": w, **_bias(call, bias)})


def _absorbed_pad(call: Call, name: str, pairs: list[tuple[int, int]]) -> tuple[str, list[tuple[int, int]], str]:
    """A pad of the spatial axes right before a convolution becomes its padding, where that is the same function."""
    node = call.builder[name]
    if node.op != "pad" or node.attrs["pads"][0] != (0, 0) or min(v for pair in node.attrs["pads"] for v in pair) < 0:
        return name, pairs, "zeros"
    pads, mode = node.attrs["pads"][1:], node.attrs["mode"]
    if mode == "constant" and node.attrs["value"] == 0:
        return node.inputs[0], [(a + c, b + d) for (a, b), (c, d) in zip(pads, pairs)], "zeros"
    if mode != "constant" and not any(v for pair in pairs for v in pair):
        return node.inputs[0], list(pads), mode
    return name, pairs, "zeros"


@translates("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
def conv_transpose(call: Call, x: Traced, weight: Any, bias: Any = None, stride: Ints = 1, padding: Ints = 0, output_padding: Ints = 0, groups: int = 1, dilation: Ints = 1) -> str:
    w = call.array(weight)
    n = w.ndim - 2
    if len(x.shape) != n + 1:
        call.refuse_batch("takes the batch axis for channels (the input has no channel axis)")
    attrs = {
        "stride": ints(call, stride, n),
        "padding": [(p, p) for p in ints(call, padding, n)],
        "output_padding": ints(call, output_padding, n),
        "dilation": ints(call, dilation, n),
        "groups": groups,
    }
    return call.add("conv_transpose", [x.name], attrs, {"weight": w, **_bias(call, bias)})


@translates("convolution", "_convolution")
def convolution(call: Call, x: Traced, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, transposed: bool, output_padding: Any, groups: int, *_: Any) -> str:
    if transposed:
        return conv_transpose(call, x, weight, bias, stride, padding, output_padding, groups, dilation)
    return conv(call, x, weight, bias, stride, padding, dilation, groups)


@translates("batch_norm")
def batch_norm(
    call: Call, x: Traced, running_mean: Any, running_var: Any, weight: Any = None, bias: Any = None, training: bool = False, momentum: float = 0.1, eps: float = 1e-5
) -> str:
    if training or running_mean is None or running_var is None:
        what = "a BatchNorm in training mode, or without running statistics: its output depends on the other inputs of the batch"
        raise InputError(what, where=call.where, expected="evaluation mode with running statistics", hint="call model.eval() first")
    arrays = {"mean": running_mean, "var": running_var, "weight": weight, "bias": bias}
    return call.add("batch_norm", [x.name], {"eps": float(eps)}, {k: call.array(v) for k, v in arrays.items() if v is not None})


@translates("aten::batch_norm")
def batch_norm_aten(call: Call, x: Traced, weight: Any, bias: Any, running_mean: Any, running_var: Any, training: bool, momentum: float, eps: float, *_: Any) -> str:
    return batch_norm(call, x, running_mean, running_var, weight, bias, training, momentum, eps)


@translates("_native_batch_norm_legit_no_training")
def batch_norm_export(call: Call, x: Traced, weight: Any, bias: Any, running_mean: Any, running_var: Any, momentum: float, eps: float) -> tuple:
    return (batch_norm(call, x, running_mean, running_var, weight, bias, False, momentum, eps),)


@translates("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_dropout", "feature_alpha_dropout")
def dropout(call: Call, x: Traced, p: float = 0.5, training: bool = True, inplace: bool = False) -> str:
    if training and p > 0:
        raise InputError("an active dropout: its output is random", where=call.where, found=f"training mode, p = {p}", expected="evaluation mode", hint="call model.eval() first")
    return x.name


@translates("matmul", "mm", "bmm", "mv", several=True)
def matmul(call: Call, x: Any, other: Any) -> str:
    """With one constant factor a dense layer; of two activations a `matmul` node, which the rules refuse."""
    a, b = x, other
    if isinstance(a, Traced) and isinstance(b, Traced):
        if len(a.shape) != len(b.shape) or len(a.shape) < 2:
            call.refuse("a matrix product of two tensors that depend on the input: no finite global Lipschitz constant", found=f"shapes {a.shape} and {b.shape}")
        return call.add("matmul", [a.name, b.name])
    if isinstance(a, Traced):
        w = call.array(b)
        if w.ndim not in (1, 2):
            call.refuse(f"'{call.op}' with a batch of constant matrices", found=w.shape, expected="one matrix")
        y = dense(call, a.name, np.ascontiguousarray(w.reshape(len(w), -1).T))
        return call.reshape(y, call.shape(y)[:-1]) if w.ndim == 1 else y
    w, shape = call.array(a), b.shape
    if w.ndim != 2 or len(shape) < 2:
        call.refuse_batch("multiplies a constant matrix from the left")
    perm = (*range(len(shape) - 2), len(shape) - 1, len(shape) - 2)
    turned = call.add("transpose", [b.name], {"perm": perm}, part="in")
    return call.add("transpose", [call.add("dense", [turned], {}, {"weight": w}, part="product")], {"perm": perm})


@translates("addmm", several=True)
def addmm(call: Call, bias: Any, x: Any, weight: Any, beta: float = 1, alpha: float = 1) -> str:
    if isinstance(bias, Traced) or isinstance(weight, Traced) or not isinstance(x, Traced):
        call.refuse("'addmm' with more than its matrix argument depending on the input")
    w, b = call.array(weight), np.asarray(call.per_sample(bias, 2), dtype=np.float64)
    if alpha != 1 or beta != 1:
        w, b = w.astype(np.float64) * alpha, b * beta
    return dense(call, x.name, np.ascontiguousarray(w.T), np.broadcast_to(b, (w.shape[1],)))
