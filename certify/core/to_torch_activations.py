"""The activations of a graph as torch expressions: one per kind, in float64 the function of `core.activations` up to rounding."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .errors import UnsupportedLayerError
from .graph import Node


def _prelu(x: Tensor, slope: Tensor, shape: tuple[int, ...]) -> Tensor:
    if slope.numel() == 1 or tuple(slope.shape) == (shape[0], *(1,) * (len(shape) - 1)):
        return F.prelu(x, slope.reshape(-1))
    return torch.where(x > 0, x, slope * x)


_PLAIN: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu, "selu": F.selu, "silu": F.silu, "mish": F.mish, "tanh": torch.tanh, "sigmoid": torch.sigmoid, "hardswish": F.hardswish, "hardsigmoid": F.hardsigmoid,
    "abs": torch.abs, "softsign": F.softsign, "logsigmoid": F.logsigmoid, "tanhshrink": F.tanhshrink, "erf": torch.erf, "sin": torch.sin, "cos": torch.cos,
    "quick_gelu": lambda v: v * torch.sigmoid(1.702 * v),
}  # fmt: skip
# The threshold 35 makes torch's jump log(1 + e^-35) smaller than the rounding of float64.
_SET: dict[str, Callable[[Tensor, Mapping[str, Any]], Tensor]] = {
    "leaky_relu": lambda v, p: F.leaky_relu(v, p.get("alpha", 0.01)),
    "elu": lambda v, p: F.elu(v, p.get("alpha", 1.0)),
    "celu": lambda v, p: F.celu(v, p.get("alpha", 1.0)),
    "gelu": lambda v, p: F.gelu(v, approximate=p.get("approximate", "none")),
    "softplus": lambda v, p: F.softplus(v, p.get("beta", 1.0), 35.0),
    "hardtanh": lambda v, p: v.clamp(p.get("min", -1.0), p.get("max", 1.0)),
    "softshrink": lambda v, p: F.softshrink(v, p.get("lambda", 0.5)),
}


def activation_value(node: Node, x: Tensor, slope: Tensor | None, shape: tuple[int, ...]) -> Tensor:
    """The activation `node` of x; `slope` is the array of prelu."""
    kind = node.attrs["kind"]
    if kind == "prelu" and slope is not None:
        return _prelu(x, slope, shape)
    if kind in _PLAIN:
        return _PLAIN[kind](x)
    if kind in _SET:
        return _SET[kind](x, node.attrs)
    raise UnsupportedLayerError(f"activation '{kind}' has no torch form", where=node.source or node.name, hint="add it to certify/core/to_torch_activations.py")
