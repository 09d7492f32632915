"""Where the taps of a convolution layer go in its symbol, read off the layer itself: no tracing, no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from ..core.errors import HypothesisError, InputError, UnsupportedLayerError
from ..core.shapes import require_shape
from ..linear.adjoint import AdjointMap
from ..linear.axis import Axis
from ..linear.base import LinearMap
from ..linear.conv import ConvMap
from ..linear.dense import DenseMap
from .polyphase import AxisPlan, circular_plan, embedding_plan, is_block_circulant


@dataclass(frozen=True)
class Taps:
    """F(w) = W (I (x) E(w)) with W the kernel of one group as (a, c, taps), E(w)[t, r] = exp(i <w, shifts[t]>) if r = column[t], else 0.

    `column` is the polyphase column of a tap, -1 for a dead tap (E is zero there); `phases` how many there are per axis, `degrees` the number
    of shifts of each axis. Nothing is copied or reordered: the polyphase map is in E.
    """

    shifts: tuple[tuple[int, ...], ...]
    column: tuple[int, ...]
    phases: tuple[int, ...]
    degrees: tuple[int, ...]

    @property
    def columns(self) -> int:
        return math.prod(self.phases)

    @classmethod
    def of(cls, axes: Sequence[Axis], plans: Sequence[AxisPlan | None]) -> Taps:
        """The taps of a convolution with these plans of `norms.polyphase` (None: the map is zero)."""
        known = [plan for plan in plans if plan is not None]
        if len(known) < len(plans):
            count = math.prod(a.taps for a in axes)
            return cls(((0,) * len(axes),) * count, (-1,) * count, (1,) * len(axes), (1,) * len(axes))
        shifts, column = [], []
        for tap in product(*(range(a.taps) for a in axes)):
            shifts.append(tuple(int(plan.shifts[plan.index[t]]) for plan, t in zip(known, tap)))
            flat = 0
            for plan, t in zip(known, tap):
                flat = flat * plan.phases + int(plan.phase[t])
            column.append(flat if all(plan.keep[t] for plan, t in zip(known, tap)) else -1)
        return cls(tuple(shifts), tuple(column), tuple(plan.phases for plan in known), tuple(len(plan.shifts) for plan in known))


def conv_axes(layer: Any, input_shape: Sequence[int]) -> tuple[Axis, ...]:
    """The axes of the convolution whose l2 norm is that of a torch convolution (of its adjoint, where the layer is transposed).

    Raises:
        InputError: a shape that is no sequence of integers, or does not fit the layer.
    """
    input_shape = require_shape(input_shape)
    if len(input_shape) != len(layer.kernel_size) + 1 or input_shape[0] != layer.in_channels:
        expected = f"({layer.in_channels}, {', '.join('n' * len(layer.kernel_size))})"
        raise InputError("an input shape does not fit the layer", where=type(layer).__name__, found=input_shape, expected=expected)
    axes = []
    for i, (n, k, s, d) in enumerate(zip(input_shape[1:], layer.kernel_size, layer.stride, layer.dilation)):
        n, span = int(n), d * (k - 1)
        if layer.transposed:
            p = layer.padding[i]
            axes.append(Axis((n - 1) * s - 2 * p + span + 1 + layer.output_padding[i], n, k, s, d, p))
            continue
        low = high = layer.padding[i] if not isinstance(layer.padding, str) else 0
        if layer.padding == "same":
            low, high = span // 2, span - span // 2
        axes.append(Axis(n, (n + low + high - span - 1) // s + 1, k, s, d, low, high, layer.padding_mode))
    return tuple(axes)


def map_of(layer: Any, input_shape: Sequence[int], weight: np.ndarray) -> LinearMap:
    """The linear map of an nn.Linear, a convolution or a transposed convolution with these float64 weights, as `operator_norm` would see it."""
    if not hasattr(layer, "kernel_size"):
        return DenseMap(weight, require_shape(input_shape)[:-1])
    conv = ConvMap(weight, conv_axes(layer, input_shape), layer.groups)
    return AdjointMap(conv) if layer.transposed else conv


def symbol_plans(axes: Sequence[Axis]) -> tuple[list[AxisPlan | None], str]:
    """(plans of the symbol that bounds this convolution, ""), or ([], the hypothesis that fails): copied pixels, block-circulant padding excepted."""
    if all(a.mode == "zeros" for a in axes):
        return [embedding_plan(a) for a in axes], ""
    reason = is_block_circulant(ConvMap(np.zeros((1, 1, *(a.taps for a in axes))), tuple(axes)))
    return ([], reason) if reason else ([circular_plan(a) for a in axes], "")


def supremum_applies(axes: Sequence[Axis], wide: int) -> bool:
    """Whether sup ||F(w)|| bounds the layer, and every axis on which F varies has a least period of at least `wide` times its shifts, so that it is near the norm."""
    plans, reason = symbol_plans(axes)
    return not reason and all(plan is None or len(plan.shifts) == 1 or plan.period >= wide * len(plan.shifts) for plan in plans)


def symbol_taps_of(layer: Any, input_shape: Sequence[int]) -> Taps:
    """The taps of a convolution layer.

    Raises:
        HypothesisError: a padding that copies pixels, for which sup ||F(w)|| says nothing about the layer (block-circulant ones excepted).
        UnsupportedLayerError: no convolution. InputError: a shape that does not fit it.
    """
    if not hasattr(layer, "kernel_size") or not hasattr(layer, "transposed"):
        raise UnsupportedLayerError("only a convolution has a symbol", where=type(layer).__name__, expected="Conv1d-3d, ConvTranspose1d-3d")
    axes = conv_axes(layer, input_shape)
    plans, reason = symbol_plans(axes)
    if reason:
        raise HypothesisError("the symbol of this convolution does not bound it", where=type(layer).__name__, found=reason, hint="use certify.norms.estimate.spectral_estimate")
    return Taps.of(axes, plans)


def all_taps(layers: Sequence[Any], input_shapes: Sequence[Sequence[int]], states: Sequence[Any]) -> list[Taps]:
    """`symbol_taps_of` every layer.

    Raises:
        InputError: not one input shape and one state for each layer.
    """
    if not len(layers) == len(input_shapes) == len(states):
        raise InputError("every layer needs its input shape and its state", found=f"{len(layers)} layers, {len(input_shapes)} shapes, {len(states)} states")
    return [symbol_taps_of(layer, shape) for layer, shape in zip(layers, input_shapes)]
