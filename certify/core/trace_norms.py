"""Handlers of normalisations by a sample's own statistics: LayerNorm, RMSNorm, GroupNorm, InstanceNorm without running statistics."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from .errors import InputError
from .trace_emit import Call, Traced, Unusable, translates
from .trace_layers import batch_norm

_STATISTIC = Unusable("the statistics of a normalisation are used; only its normalised tensor is supported")


def normalised(call: Call, name: str, dims: int, eps: Any, center: bool, weight: Any = None, bias: Any = None, part: str = "") -> str:
    """A layer_norm node over the last `dims` axes; eps <= 0 is refused."""
    if not float(eps) > 0:
        what = f"'{call.op}' with eps <= 0 has no finite constant: its slope is max |weight| / sqrt(eps) at a constant input"
        call.refuse(what, found=f"eps = {eps}", expected="eps > 0", hint="train with a positive eps; the default of torch is 1e-5")
    arrays = {key: call.array(value) for key, value in (("weight", weight), ("bias", bias)) if value is not None}
    return call.add("layer_norm", [name], {"dims": dims, "eps": float(eps), "center": center}, arrays, part=part)


def _dims(call: Call, x: Traced, normalized_shape: Any) -> int:
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    if not shape or len(shape) > len(x.shape):
        call.refuse_batch("normalises over the batch axis")
    return len(shape)


@translates("layer_norm")
def layer_norm(call: Call, x: Traced, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5, *settings: Any, **more: Any) -> str:
    return normalised(call, x.name, _dims(call, x, normalized_shape), eps, True, weight, bias)


@translates("native_layer_norm")
def native_layer_norm(call: Call, x: Traced, normalized_shape: Any, weight: Any, bias: Any, eps: float) -> tuple:
    return layer_norm(call, x, normalized_shape, weight, bias, eps), _STATISTIC, _STATISTIC


@translates("rms_norm")
def rms_norm(call: Call, x: Traced, normalized_shape: Any, weight: Any = None, eps: Any = None) -> str:
    """torch's default of eps is the spacing of the dtype that it runs in: legal where that is float64 (modules get theirs before, in `trace_prepare`)."""
    if eps is None and x.value.dtype != torch.float64:
        call.refuse(f"'{call.op}' with an eps that depends on the dtype", found="eps = None", expected="a number", hint="give eps, for example torch.finfo(torch.float32).eps")
    return normalised(call, x.name, _dims(call, x, normalized_shape), torch.finfo(x.value.dtype).eps if eps is None else eps, False, weight)


@translates("_fused_rms_norm")
def fused_rms_norm(call: Call, x: Traced, normalized_shape: Any, weight: Any = None, eps: Any = None) -> tuple:
    return rms_norm(call, x, normalized_shape, weight, eps), _STATISTIC


@translates("group_norm")
def group_norm(call: Call, x: Traced, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5, *settings: Any) -> str:
    """Channels cut into groups, each normalised as one; then a scale and a shift per channel."""
    if not x.shape or num_groups < 1 or x.shape[0] % num_groups:
        call.refuse(f"'{call.op}' whose groups do not divide the channels", found=f"{num_groups} groups of shape {x.shape}")
    rows = call.reshape(x.name, (num_groups, math.prod(x.shape) // num_groups), part="groups")
    name = call.reshape(normalised(call, rows, 1, eps, True, part="normalised"), x.shape, part="channels")
    column = (-1, *(1,) * (len(x.shape) - 1))
    if weight is not None:
        name = call.add("scale", [name], {}, {"value": call.array(weight).reshape(column)}, part="weight")
    if bias is not None:
        shift = call.constant(np.broadcast_to(call.array(bias).reshape(column), x.shape), part="bias")
        name = call.add("add", [name, shift], part="shift")
    return name


@translates("native_group_norm")
def native_group_norm(call: Call, x: Traced, weight: Any, bias: Any, n: Any, channels: Any, pixels: Any, groups: int, eps: float) -> tuple:
    return group_norm(call, x, groups, weight, bias, eps), _STATISTIC, _STATISTIC


@translates("instance_norm")
def instance_norm(
    call: Call, x: Traced, running_mean: Any = None, running_var: Any = None, weight: Any = None, bias: Any = None, use_input_stats: bool = True,
    momentum: float = 0.1, eps: float = 1e-5, *, rank: int | None = None,
) -> str:  # fmt: skip
    """Every channel normalised by itself. With running statistics in evaluation mode it is a batch norm."""
    if rank is not None and x.value.ndim != rank:
        call.refuse_batch("takes the batch axis for channels (the input has no channel axis)")
    if not use_input_stats:
        return batch_norm(call, x, running_mean, running_var, weight, bias, False, momentum, eps)
    if running_mean is not None or running_var is not None:
        what = "an InstanceNorm with running statistics in training mode: they change at every call"
        raise InputError(what, where=call.where, expected="evaluation mode, or track_running_stats=False", hint="call model.eval() first")
    return group_norm(call, x, x.shape[0], weight, bias, eps)
