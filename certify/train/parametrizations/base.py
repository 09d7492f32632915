"""What the parametrizations share: which layers they take, the layer without its weight, kernels as matrices, and `retract_`."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ...core.errors import HypothesisError, InputError, UnsupportedLayerError
from ...norms.estimate import LINEAR_LAYERS, weight_of
from ...norms.taps import conv_axes


@dataclass(frozen=True, eq=False)
class Geometry:
    """A layer without its weight: what a parametrization remembers of the layer it belongs to. No module, so that nobody walking a model meets it."""

    layer: Any

    @classmethod
    def of(cls, layer: nn.Module) -> Geometry:
        twin = copy.copy(layer)
        for name, value in vars(layer).items():
            if isinstance(value, dict):  # parameters, buffers, hooks: the twin has none
                vars(twin)[name] = type(value)()
        return cls(twin)

    def holding(self, weight: nn.Parameter) -> Any:
        """The layer with this weight and without a bias, for estimates and bounds."""
        twin = copy.copy(self.layer)
        vars(twin)["_parameters"] = {"weight": weight, "bias": None}
        return twin

    @property
    def convolution(self) -> bool:
        return hasattr(self.layer, "kernel_size")

    @property
    def groups(self) -> int:
        return int(self.layer.groups) if self.convolution else 1

    @property
    def kernel(self) -> tuple[int, ...]:
        return tuple(self.layer.kernel_size) if self.convolution else ()

    @property
    def strides(self) -> tuple[int, ...]:
        """Per axis the stride without the factor that it shares with the dilation: such a factor only selects pixels."""
        return tuple(s // math.gcd(s, d) for s, d in zip(self.layer.stride, self.layer.dilation)) if self.convolution else ()

    @property
    def overlap(self) -> int:
        """How many windows of the kernel share one pixel, at most: 1 for a matrix."""
        return math.prod(-(-k // s) for k, s in zip(self.kernel, self.strides))

    def matrices(self, weight: Tensor) -> Tensor:
        """(groups, rows, columns): per group the kernel as a matrix, rows = first axis of the weight (inputs of a transposed layer, else outputs)."""
        return weight.reshape(self.groups, weight.shape[0] // self.groups, -1)

    def output_rows(self, weight: Tensor) -> Tensor:
        """(groups, outputs, everything else), for transposed layers too."""
        if not (self.convolution and self.layer.transposed):
            return self.matrices(weight)
        split = weight.reshape(self.groups, weight.shape[0] // self.groups, *weight.shape[1:])
        return split.transpose(1, 2).flatten(2)

    def from_output_rows(self, matrices: Tensor, weight: Tensor) -> Tensor:
        """The inverse of `output_rows`, in the shape of `weight`."""
        if not (self.convolution and self.layer.transposed):
            return matrices.reshape(weight.shape)
        swapped = matrices.reshape(self.groups, weight.shape[1], weight.shape[0] // self.groups, *weight.shape[2:])
        return swapped.transpose(1, 2).reshape(weight.shape)


def require_layer(layer: Any) -> Geometry:
    """The geometry of a layer whose weight can be parametrized.

    Raises:
        UnsupportedLayerError: another kind of layer. InputError: a weight that is missing, computed already, not finite, or not float32 or float64.
    """
    name = type(layer).__name__
    if not isinstance(layer, LINEAR_LAYERS):
        hint = "parametrize its linear layers one by one" if isinstance(layer, nn.Module) and list(layer.children()) else None
        raise UnsupportedLayerError("this layer cannot be parametrized", where=name, expected=", ".join(kind.__name__ for kind in LINEAR_LAYERS), hint=hint)
    module: Any = layer
    if parametrize.is_parametrized(module, "weight") or "weight" not in module._parameters:
        raise InputError("the weight is computed by another parametrization", where=name, hint="torch.nn.utils.parametrize.remove_parametrizations(layer, 'weight') first")
    weight = weight_of(module)
    if weight.dtype not in (torch.float32, torch.float64):
        raise InputError("the weight has the wrong dtype", where=name, found=weight.dtype, expected="float32 or float64")
    if not weight.numel():
        raise InputError("the weight is empty", where=name, found=tuple(weight.shape))
    if weight.is_meta or not bool(torch.isfinite(weight).all()):
        raise InputError("the weight has no finite values", where=name, found="meta device" if weight.is_meta else "NaN or infinity")
    return Geometry.of(module)


def require_symbol(geometry: Geometry, input_shape: Sequence[int] | None) -> None:
    """The hypotheses under which a kernel bounds its layer at every input size: no padding that copies pixels, circular padding with aligned windows.

    Raises:
        HypothesisError: reflect or replicate padding; circular padding wider than the kernel reaches, or with a stride that does not divide the input size.
        InputError: an input shape that does not fit the layer.
    """
    layer = geometry.layer
    if not geometry.convolution:
        return
    axes = conv_axes(layer, input_shape) if input_shape is not None else ()
    if layer.padding_mode == "zeros":
        return
    where = f"{type(layer).__name__}, padding_mode={layer.padding_mode!r}"
    if layer.padding_mode != "circular":
        raise HypothesisError("this padding copies pixels, so the kernel does not bound the layer", where=where, expected="'zeros' or 'circular'")
    if not isinstance(layer.padding, str) and any(2 * p > d * (k - 1) for p, d, k in zip(layer.padding, layer.dilation, layer.kernel_size)):
        what = "circular padding beyond the reach of the kernel repeats outputs"
        raise HypothesisError(what, where=where, found=f"padding {layer.padding}", expected="2 * padding <= dilation * (kernel_size - 1)")
    if max(layer.stride) > 1 and (not axes or any(a.inputs % a.stride for a in axes)):
        what = "windows of a strided circular convolution fit together only where the stride divides the input size"
        found = "no input_shape" if input_shape is None else f"input_shape {tuple(input_shape)}, stride {layer.stride}"
        raise HypothesisError(what, where=where, found=found, expected="input_shape=(channels, ...) with multiples of the stride", hint="or padding_mode='zeros'")


def attach(layer: Any, parametrization: nn.Module, unsafe: bool = False) -> Any:
    """Register the parametrization of the weight; a frozen weight stays frozen. Returns the layer."""
    parametrization.requires_grad_(layer.weight.requires_grad)
    parametrization.train(layer.training)
    return parametrize.register_parametrization(layer, "weight", parametrization, unsafe=unsafe)


def full_precision(forward: Callable) -> Callable:
    """A forward method that autocast leaves alone: orthogonality in half precision would be off by 1e-3."""

    @functools.wraps(forward)
    def wrapped(self: nn.Module, *args: Tensor) -> Tensor:
        weight = args[0] if args else next(self.parameters())
        device = weight.device.type
        if device == "meta" or weight.dtype in (torch.float16, torch.bfloat16):
            what, hint = "a parametrized weight needs values in float32 or float64", "for half precision: torch.autocast, or export the model and convert that"
            raise InputError(what, where=type(self).__name__, found="meta device" if device == "meta" else weight.dtype, expected="float32 or float64", hint=hint)
        if not torch.is_autocast_enabled(device):
            return forward(self, *args)
        with torch.autocast(device, enabled=False):
            return forward(self, *args)

    return wrapped


def retract_(model: nn.Module) -> None:
    """Put every weight that lives on a manifold back onto it: to be called after each optimizer step, in place, without gradient.

    Calls `retract_()` of each part of the model that has one (method="retraction" of `bjorck` and `orthogonal_convolution`); others are left alone.

    >>> from certify.train.parametrizations import bjorck
    >>> layer = bjorck(nn.Linear(3, 3), method="retraction")
    >>> with torch.no_grad():
    ...     for raw in layer.parametrizations.parameters():
    ...         _ = raw.mul_(1.3)  # an optimizer step
    >>> retract_(layer)
    >>> bool(torch.allclose(layer.weight @ layer.weight.T, torch.eye(3), atol=1e-5))
    True
    """
    for part in list(model.modules()):
        retract = getattr(part, "retract_", None)
        if callable(retract):
            retract()
