"""The checker's own description of a convolution-like map: explicit lists of which output reads which pixel at which tap.

y[g, r, o] = sum over taps t and columns c of K[g, r, c, t] x[g, c, source(o, t)], a term being absent where source is -1. A transposed
convolution is the adjoint of such a map (the same l2 norm; l1 and linf change places), an average pool one channel of it.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np

from ..core.graph import Node
from ..core.rounding import ETA, TINY, U, add_up, gamma, mul_up, sqrt_up, up


@dataclass(frozen=True)
class Axis:
    """One spatial axis: output o and tap t read pixel stride o - low + dilation t, seen through the padding mode."""

    inputs: int
    outputs: int
    taps: int
    stride: int
    dilation: int
    low: int
    high: int
    mode: str = "zeros"

    @cached_property
    def source(self) -> np.ndarray:
        """(outputs, taps) index of the pixel that is read, -1 for a zero of the padding."""
        n = self.inputs
        i = self.stride * np.arange(self.outputs)[:, None] - self.low + self.dilation * np.arange(self.taps)[None, :]
        if self.mode == "circular":
            return i % n
        if self.mode == "replicate":
            return np.clip(i, 0, n - 1)
        if self.mode == "reflect":
            i = np.where(i < 0, -i, i)
            i = np.where(i >= n, 2 * (n - 1) - i, i)
        return np.where((i >= 0) & (i < n), i, -1)

    @cached_property
    def readers(self) -> np.ndarray:
        """(taps, inputs) how many outputs read the pixel at that tap."""
        counts = np.zeros((self.taps, self.inputs))
        for t in range(self.taps):
            live = self.source[:, t][self.source[:, t] >= 0]
            np.add.at(counts[t], live, 1.0)
        return counts


@dataclass(frozen=True, eq=False)
class Windows:
    """A direct sum over groups g of the maps above; `weight` (groups, rows, columns, *taps) scaled by 2^-exponent, largest entry in [1/2, 1).

    The matrix A that is meant has entries within `relative` (per weight) of the scaled ones, which also lost at most 2^-1074 each by scaling.
    """

    weight: np.ndarray
    axes: tuple[Axis, ...]
    transposed: bool
    exponent: int
    relative: float

    @property
    def zero(self) -> bool:
        """Every weight that is read is exactly zero: A = 0, whatever the perturbation, which is relative."""
        return not self.weight.any()

    @property
    def groups(self) -> int:
        return self.weight.shape[0]

    @property
    def rows(self) -> int:
        """Of one group's matrix (of the convolution, not of its adjoint)."""
        return self.weight.shape[1] * math.prod(axis.outputs for axis in self.axes)

    @property
    def columns(self) -> int:
        return self.weight.shape[2] * math.prod(axis.inputs for axis in self.axes)

    @property
    def copying(self) -> bool:
        """A pixel may be read twice by one output, so that several weights meet in one matrix entry."""
        return any(axis.mode != "zeros" for axis in self.axes)

    def contracted(self, weights: np.ndarray, side: str) -> np.ndarray:
        """Sums of `weights` (shaped like self.weight) along each row ("rows") or column of the map, (groups, channels, *positions)."""
        total = weights.sum(axis=2 if side == "rows" else 1)
        for axis in self.axes:  # the first remaining tap axis goes, its position axis comes last: after all of them the order is restored
            factor = (axis.source >= 0).astype(np.float64) if side == "rows" else axis.readers.T
            total = np.tensordot(total, factor, axes=([2], [1]))
        return total

    @cached_property
    def entries(self) -> tuple[int, int]:
        """Most nonzero weights in one row and in one column, with multiplicity; exact integers."""
        pattern = (self.weight != 0).astype(np.float64)
        return int(self.contracted(pattern, "rows").max(initial=0.0)), int(self.contracted(pattern, "columns").max(initial=0.0))

    @cached_property
    def sums(self) -> tuple[float, float]:
        """Upper ends of (linf, l1) of |A|: largest row and column sum of |K| applied to ones and of its adjoint, all groups; exact where the
        sums are. In copying modes several weights meet in an entry, and this is a majorant."""
        size = np.abs(self.weight)
        ends = []
        for channel, side, entries in ((2, "rows", self.entries[0]), (1, "columns", self.entries[1])):
            end = float(self.contracted(size, side).max(initial=0.0))
            if not adds_exactly(size, entries):
                # nonnegative terms: a sum over the channels, then per axis an inner product over its taps
                count = size.shape[channel] + sum(axis.taps for axis in self.axes) + 2
                end = up(up(end * (1.0 + 2.0 * gamma(count))) + TINY)
            ends.append(add_up(end, mul_up(end, self.relative)) if self.relative else end)
        return (ends[1], ends[0]) if self.transposed else (ends[0], ends[1])

    def diagonal_below(self, bound: float) -> bool:
        """True only if the rows or the columns of A have disjoint supports (A A' or A' A is diagonal) and the largest of their 2-norms is <= bound."""
        if self.copying or min(self.entries) > 1:
            return False
        size = np.abs(self.weight)
        top = float(size.max())
        if max(self.entries) <= 1 or ((size == 0) | (size == top)).all():
            return (Fraction(top) * (1 + Fraction(self.relative))) ** 2 * max(self.entries) <= Fraction(bound) ** 2
        squares = float(self.contracted(np.square(size), "rows" if self.entries[1] <= 1 else "columns").max())
        count = max(size.shape[1:3]) + sum(axis.taps for axis in self.axes) + 3
        return up(up(np.sqrt(up(squares * (1 + 2 * gamma(count)) + TINY)) * (1 + 2 * self.relative)) + TINY) <= bound

    def majorant(self, norm: str) -> float:
        """Upper end of || |A| ||_p, exact but for rounding in l1 and linf, sqrt(l1 linf) in l2."""
        rows, columns = self.sums
        return {"linf": rows, "l1": columns}.get(norm) or sqrt_up(mul_up(rows, columns))

    def slack(self) -> float:
        """|A - A of the scaled weights|_2 is at most this: the stated perturbation, and what scaling lost."""
        return up(mul_up(self.relative, self.majorant("l2")) + 2.0 * TINY) if self.relative else TINY

    @cached_property
    def squares(self) -> float:
        """Upper end of the Frobenius norm of the largest group, for zeros mode (one entry = one weight), as a square."""
        total = np.square(self.weight).sum(axis=(1, 2))
        for axis in self.axes:
            total = np.tensordot(total, (axis.source >= 0).sum(axis=0).astype(np.float64), axes=([1], [0]))
        count = self.weight[0].size + len(self.axes) + 2
        return up(up(float(total.max(initial=0.0)) * (1.0 + 2.0 * gamma(count))) + TINY)

    def tap_indices(self):
        """All multi-indices of taps."""
        return itertools.product(*(range(axis.taps) for axis in self.axes))


def adds_exactly(size: np.ndarray, entries: int) -> bool:
    """True only if float64 adds any `entries` of the nonnegative numbers `size` without rounding: one of them, or multiples of a common power of two
    whose sum has at most 53 bits. No subnormal numbers."""
    if size.size > 2000 and entries > 1 and not adds_exactly(size.reshape(-1)[:1000], entries):  # most real weights end here
        return False
    positive = size[size > 0]
    if not positive.size or not float(positive.min()) >= 2.0**-1000:
        return not positive.size
    if entries <= 1:
        return True
    mantissa, exponent = np.frexp(positive)
    whole = np.ldexp(mantissa, 53).astype(np.int64)
    lowest = int((exponent - 53 + np.frexp((whole & -whole).astype(np.float64))[1] - 1).min())  # all are multiples of 2^lowest
    return int(exponent.max()) - lowest <= 1000 and entries * 2 ** (int(exponent.max()) - lowest) <= 2**53


def scaled(weight: np.ndarray) -> tuple[np.ndarray, int]:
    """(2^-e weight, e) with the largest absolute value in [1/2, 1), each entry within 2^-1074. Zero weights stay, and no other becomes zero: `adds_exactly`
    and the counts of entries must see every weight, also one of 2^-1074 beside a 1."""
    peak = float(np.abs(weight).max(initial=0.0))
    if peak == 0.0:
        return weight, 0
    e = math.frexp(peak)[1]
    result = np.ldexp(weight, -e)
    lost = (result == 0) & (weight != 0)
    return (np.where(lost, np.copysign(ETA, weight), result) if lost.any() else result), e


def windows_of(node: Node, in_shape: tuple[int, ...]) -> Windows | None:
    """The map of a conv, conv_transpose or (one divisor, one channel) avg_pool node; None for another node or divisors that differ."""
    if node.op == "avg_pool":
        divisor = node.float64("divisor")
        if divisor is None or not (divisor == divisor.flat[0]).all() or not 2.0**-900 < divisor.flat[0] < 2.0**900:
            return None
        kernel = node.attrs["kernel"]
        inverse = np.full((1, 1, 1, *kernel), 1.0 / float(divisor.flat[0]))
        relative = 0.0 if math.frexp(float(divisor.flat[0]))[0] == 0.5 else 2 * U  # 1 / divisor was rounded
        return _live(inverse, _axes(in_shape[1:], node.shape[1:], kernel, node, "zeros"), False, relative)
    if node.op not in ("conv", "conv_transpose"):
        return None
    weight, groups, relative = node.float64("weight"), int(node.attrs["groups"]), float(node.attrs.get("perturbation", 0)) * U
    if weight is None:
        return None
    weight = weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:])
    if node.op == "conv":
        return _live(weight, _axes(in_shape[1:], node.shape[1:], weight.shape[3:], node, node.attrs["mode"]), False, relative)
    return _live(weight, _axes(node.shape[1:], in_shape[1:], weight.shape[3:], node, "zeros"), True, relative)


def _axes(inputs, outputs, kernel, node: Node, mode: str) -> tuple[Axis, ...]:
    dilation = node.attrs.get("dilation", (1,) * len(kernel))
    each = zip(inputs, outputs, kernel, node.attrs["stride"], dilation, node.attrs["padding"], strict=True)
    return tuple(Axis(n, m, k, s, d, low, high, mode) for n, m, k, s, d, (low, high) in each)


def _live(weight: np.ndarray, axes: tuple[Axis, ...], transposed: bool, relative: float) -> Windows:
    """Taps that read nothing but padding are set to zero (A is unchanged) before the largest weight sets the scale."""
    for i, axis in enumerate(axes):
        live = (axis.source >= 0).any(axis=0)
        weight = weight * live.reshape((-1,) + (1,) * (len(axes) - 1 - i))
    weight, e = scaled(weight)
    return Windows(weight, axes, transposed, e, relative)
