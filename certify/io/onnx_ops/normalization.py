"""LayerNormalization, InstanceNormalization, GroupNormalization."""

from __future__ import annotations

import math

import numpy as np

from ..onnx_network import Network
from ..onnx_values import Call, Tensor
from .registry import operator


def _eps(call: Call) -> float:
    eps = call.number("epsilon", 1e-5)
    if not eps > 0:
        raise call.unsupported("epsilon <= 0 has no finite constant: the slope is max |scale| / sqrt(epsilon) at a constant input", found=eps, expected="epsilon > 0")
    return eps


def _one_output(call: Call) -> None:
    if call.outputs > 1:
        raise call.unsupported("the mean or deviation of the normalisation is used", expected="the first output alone")


@operator("LayerNormalization", since=17)
def layer_norm(net: Network, call: Call) -> Tensor:
    """Over the axes from `axis` on; Scale and B are broadcast to them."""
    call.count(2, 3)
    _one_output(call)
    call.attr("stash_type", 1)  # the precision of the file's own arithmetic
    x = net.tensor(call, call.input(0))
    axis = call.axis(call.attr("axis", -1), net.rank(x))
    if x.lead and axis == 0:
        x = net.flat(call, x)
    axis -= x.lead
    shape = net.shape(x)[axis:]
    arrays = {"weight": _spread(call, 1, "Scale", shape), "bias": None if call.optional(2) is None else _spread(call, 2, "B", shape)}
    return net.emit(call, "layer_norm", [x], {"dims": len(shape), "eps": _eps(call), "center": True}, arrays)


def _spread(call: Call, i: int, what: str, shape: tuple[int, ...]) -> np.ndarray:
    array = call.weight(i, what)
    while array.ndim > len(shape) and array.shape[0] == 1:
        array = array[0]
    try:
        return np.broadcast_to(array, shape)
    except ValueError as error:
        raise call.invalid(f"{what} does not broadcast to the normalised axes", found=array.shape, expected=shape) from error


@operator("InstanceNormalization")
def instance_norm(net: Network, call: Call) -> Tensor:
    """Every channel of a sample by itself, then scale and B per channel."""
    call.count(3, 3)
    x = net.absorb(call, call.input(0))
    channels = net.shape(x)[0]
    return _by_channels(net, call, x, channels, _per_channel(call, 1, "scale", channels), _per_channel(call, 2, "B", channels))


@operator("GroupNormalization", since=18)
def group_norm(net: Network, call: Call) -> Tensor:
    """Groups of channels of a sample; scale and bias per channel, before opset 21 per group."""
    call.count(3, 3)
    call.attr("stash_type", 1)
    x = net.absorb(call, call.input(0))
    channels, groups = net.shape(x)[0], call.attr("num_groups", kind=int)
    if groups is None or groups < 1 or channels % groups:
        raise call.invalid("the groups do not divide the channels", found=f"num_groups {groups}, {channels} channels")
    wanted = channels if call.opset >= 21 else groups
    scale, bias = (np.repeat(_per_channel(call, i, what, wanted), channels // wanted) for i, what in ((1, "scale"), (2, "bias")))
    return _by_channels(net, call, x, groups, scale, bias)


def _per_channel(call: Call, i: int, what: str, count: int) -> np.ndarray:
    array = call.weight(i, what)
    if array.shape != (count,):
        raise call.invalid(f"{what} has a wrong shape", found=array.shape, expected=(count,))
    return array


def _by_channels(net: Network, call: Call, x: Tensor, groups: int, scale: np.ndarray, bias: np.ndarray) -> Tensor:
    shape = net.shape(x)
    column = (-1, *(1,) * (len(shape) - 1))
    rows = net.reshape(call, x, (groups, math.prod(shape) // groups), x.lead)
    flat = net.emit(call, "layer_norm", [rows], {"dims": 1, "eps": _eps(call), "center": True})
    scaled = net.emit(call, "scale", [net.reshape(call, flat, shape, x.lead)], None, {"value": scale.reshape(column)})
    shift = net.spread(call, bias.reshape(column), shape, x.lead)
    return net.emit(call, "add", [scaled, shift])
