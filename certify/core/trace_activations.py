"""Handlers of activations: entrywise functions of one tensor, described in `core.activation`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .errors import InputError
from .trace_emit import Call, Traced, translates


def _activation(call: Call, x: Traced, kind: str, **attrs: Any) -> str:
    return call.add("activation", [x.name], {"kind": kind, **attrs})


def _plain(*names: str, kind: str) -> None:
    @translates(*names)
    def handler(call: Call, x: Traced) -> str:
        return _activation(call, x, kind)


for _names, _kind in {
    "relu": "relu", "selu": "selu", "silu": "silu", "mish": "mish", "tanh": "tanh", "sigmoid": "sigmoid", "special_expit": "sigmoid", "hardswish": "hardswish",
    "hardsigmoid": "hardsigmoid", "abs": "abs", "softsign": "softsign", "log_sigmoid": "logsigmoid", "logsigmoid": "logsigmoid", "tanhshrink": "tanhshrink",
    "erf": "erf", "special_erf": "erf", "sin": "sin", "cos": "cos",
}.items():  # fmt: skip
    _plain(_names, kind=_kind)


@translates("relu6")
def relu6(call: Call, x: Traced) -> str:
    return _activation(call, x, "hardtanh", min=0.0, max=6.0)


@translates("leaky_relu")
def leaky_relu(call: Call, x: Traced, negative_slope: float = 0.01) -> str:
    return _activation(call, x, "leaky_relu", alpha=float(negative_slope))


@translates("rrelu")
def rrelu(call: Call, x: Traced, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False, inplace: bool = False, generator: Any = None) -> str:
    """In evaluation mode the slope is the mean of the two ends, as torch computes it."""
    if training:
        raise InputError("an RReLU in training mode: its output is random", where=call.where, expected="evaluation mode", hint="call model.eval() first")
    return _activation(call, x, "leaky_relu", alpha=(float(lower) + float(upper)) / 2)


@translates("prelu", "_prelu_kernel")
def prelu(call: Call, x: Traced, weight: Any) -> str:
    """One slope, or one per channel (axis 1 of the batch)."""
    slope = call.array(weight).ravel()
    if len(slope) > 1:
        slope = slope.reshape(-1, *(1,) * (len(x.shape) - 1))
    return call.add("activation", [x.name], {"kind": "prelu"}, {"slope": slope})


@translates("elu")
def elu(call: Call, x: Traced, alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0) -> str:
    if (scale, input_scale) != (1, 1):
        if abs(scale - 1.0507009873554805) < 1e-12 and abs(alpha - 1.6732632423543772) < 1e-12 and input_scale == 1:
            return _activation(call, x, "selu")
        call.refuse("'elu' with scales of its own", found=(alpha, scale, input_scale))
    return _activation(call, x, "elu", alpha=float(alpha))


@translates("celu")
def celu(call: Call, x: Traced, alpha: float = 1.0) -> str:
    return _activation(call, x, "celu", alpha=float(alpha))


@translates("gelu")
def gelu(call: Call, x: Traced, approximate: str = "none") -> str:
    return _activation(call, x, "gelu", approximate=approximate)


@translates("softplus")
def softplus(call: Call, x: Traced, beta: float = 1.0, threshold: float = 20.0) -> str:
    """The mathematical function. torch returns x itself above the threshold: a jump of log(1 + e^-threshold) / beta, refused where it is visible."""
    if not (beta > 0 and threshold >= 19):  # log(1 + e^-19) < 6e-9
        call.refuse("a softplus that jumps at its threshold is not continuous", found=f"beta = {beta}, threshold = {threshold}", expected="beta > 0, threshold >= 19 (default 20)")
    return _activation(call, x, "softplus", beta=float(beta))


@translates("softshrink")
def softshrink(call: Call, x: Traced, lambd: float = 0.5) -> str:
    return _activation(call, x, "softshrink", **{"lambda": float(lambd)})


@translates("threshold", "_threshold")
def threshold(call: Call, x: Traced, threshold: float, value: float) -> str:
    if threshold != value:
        call.refuse("a threshold that jumps has no Lipschitz constant", found=f"threshold {threshold}, value {value}", expected="equal numbers")
    return _activation(call, x, "hardtanh", min=float(value), max=math.inf)


@translates("hardtanh")
def hardtanh(call: Call, x: Traced, min_val: float = -1.0, max_val: float = 1.0) -> str:
    return _activation(call, x, "hardtanh", min=float(min_val), max=float(max_val))


@translates("clamp")
def clamp(call: Call, x: Traced, min: Any = None, max: Any = None) -> str:
    ends = []
    for end, free in ((min, -math.inf), (max, math.inf)):
        array = np.asarray(free) if end is None else call.array(end)
        ends.append(float(array.ravel()[0]) if array.size == 1 else None)
    if ends[0] is not None and ends[1] is not None:
        return _activation(call, x, "hardtanh", min=ends[0], max=ends[1])
    y = x.name
    for op, end in (("maximum", min), ("minimum", max)):
        if end is not None:
            c = call.expand(call.constant(call.per_sample(end, x.value.ndim), part=f"{op}_end"), x.shape, part=f"{op}_ends")
            y = call.add(op, [y, c], part="" if op == "minimum" or max is None else "low")
    return y


@translates("clamp_min")
def clamp_min(call: Call, x: Traced, min: Any) -> str:
    return clamp(call, x, min, None)


@translates("clamp_max")
def clamp_max(call: Call, x: Traced, max: Any) -> str:
    return clamp(call, x, None, max)
