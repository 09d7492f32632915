"""ConvMap: a convolution in 1-3 dimensions with stride, dilation, groups and four padding modes, as sums of products."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, reduce
from itertools import product

import numpy as np
from scipy import sparse as sp

from .axis import Axis
from .base import Entrywise, LinearMap

_COLUMN_BYTES = 1 << 26


@dataclass(frozen=True, eq=False, repr=False)
class ConvMap(LinearMap):
    """y[c, o] = sum over taps t and channels of its group of weight[c, :, t] xpad[:, stride o + dilation t].

    Args:
        weight: (c_out, c_in / groups, *kernel), float64.
        axes: one `Axis` per spatial axis.
        groups: c_out and c_in are cut into this many groups; A is their direct sum.

    Weights of taps that only ever read padding are set to zero (A is the same), so that scaling looks at live weights alone.
    """

    weight: np.ndarray
    axes: tuple[Axis, ...]
    groups: int = 1

    def __post_init__(self):
        weight = self.weight
        for k, axis in enumerate(self.axes):
            if not axis.live.all():
                weight = np.where(axis.live.reshape(-1, *(1,) * (len(self.axes) - 1 - k)), weight, 0.0)
        object.__setattr__(self, "weight", weight)

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (self.weight.shape[1] * self.groups, *(a.inputs for a in self.axes))

    @property
    def output_shape(self) -> tuple[int, ...]:
        return (self.weight.shape[0], *(a.outputs for a in self.axes))

    @property
    def mode(self) -> str:
        return next((a.mode for a in self.axes if a.mode != "zeros"), "zeros")

    @property
    def terms(self) -> int:
        return math.prod(self.weight.shape[1:])

    @property
    def adjoint_terms(self) -> int:
        # a product meets at most c_out/groups - 1 additions in the GEMM, one per tap, one per copied pixel and axis
        return self.weight.shape[0] // self.groups + math.prod(self.weight.shape[2:]) + sum(a.length for a in self.axes if a.mode != "zeros")

    @property
    def entry_sums(self) -> int:
        return math.prod(a.entry_sums for a in self.axes)

    @property
    def nonzeros(self) -> int:
        return math.prod(self.weight.shape[:2]) * math.prod(len(a.triples[0]) for a in self.axes)

    @property
    def stored(self) -> np.ndarray:
        return self.weight

    def entrywise(self, function: Entrywise) -> ConvMap:
        return ConvMap(function(self.weight), self.axes, self.groups)

    def blocks(self) -> tuple[LinearMap, ...]:
        return self.parts

    @cached_property
    def parts(self) -> tuple[ConvMap, ...]:
        """The groups, equal ones once."""
        if self.groups == 1:
            return (self,)
        parts = self.weight.reshape(self.groups, -1, *self.weight.shape[1:])
        if (parts == parts[:1]).all():
            parts = parts[:1]
        return tuple(ConvMap(w, self.axes, perturbation=self.perturbation, underflow=self.underflow) for w in parts)

    @cached_property
    def _chunks(self) -> list[tuple[np.ndarray, list[tuple[slice, ...]]]]:
        """(weights (g, c_out/g, T * c_in/g), T windows): taps in groups large enough for a good GEMM, small enough for memory."""
        g, (co, ci) = self.groups, self.weight.shape[:2]
        w = self.weight.reshape(g, co // g, ci, -1)
        bytes_per_tap = 8 * ci * g * math.prod(a.outputs for a in self.axes)
        step = max(1, min(256 // ci, _COLUMN_BYTES // max(1, bytes_per_tap)))
        per_axis = [[slice(a.dilation * t, a.dilation * t + a.stride * (a.outputs - 1) + 1, a.stride) for t in range(a.taps)] for a in self.axes]
        windows = [(slice(None), slice(None), *tap) for tap in product(*per_axis)]
        parts = [(w[..., start : start + step].swapaxes(2, 3), windows[start : start + step]) for start in range(0, len(windows), step)]
        return [(np.ascontiguousarray(part).reshape(g, co // g, -1), here) for part, here in parts]

    def apply(self, x: np.ndarray) -> np.ndarray:
        n, g, sites = len(x), self.groups, math.prod(a.outputs for a in self.axes)
        padded = _pad(x, self.axes)
        y = np.zeros(0)
        for k, (w, windows) in enumerate(self._chunks):
            columns = np.stack([padded[window].reshape(n, g, -1, sites) for window in windows], axis=2)
            part = w @ columns.reshape(n, g, -1, sites)
            y = part if k == 0 else np.add(y, part, out=y)
        return y.reshape(n, *self.output_shape)

    def adjoint(self, y: np.ndarray) -> np.ndarray:
        n, g = len(y), self.groups
        flat = y.reshape(n, g, self.weight.shape[0] // g, -1)
        padded = np.zeros((n, self.input_shape[0], *(a.length for a in self.axes)))
        for w, windows in self._chunks:
            columns = (w.swapaxes(1, 2) @ flat).reshape(n, g, len(windows), self.weight.shape[1], *self.output_shape[1:])
            for t, window in enumerate(windows):
                padded[window] += columns[:, :, t].reshape(n, -1, *self.output_shape[1:])
        return _unpad(padded, self.axes)

    def row_sums(self) -> np.ndarray:
        # the input is the same in all channels: add the channels of the kernel first
        return ConvMap(self.weight.sum(1, keepdims=True), self.axes).apply(np.ones((1, 1, *(a.inputs for a in self.axes))))[0]

    def column_sums(self) -> np.ndarray:
        parts = self.weight.reshape(self.groups, -1, *self.weight.shape[1:]).sum(1)
        one = ConvMap(parts.reshape(1, -1, *parts.shape[2:]), self.axes)
        return one.adjoint(np.ones((1, 1, *(a.outputs for a in self.axes))))[0]

    @cached_property
    def _entries(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(o, t, i) flattened over the axes: output site o reads input site i through tap t."""

        def join(left, right):
            sizes, (lo, lt, li), axis = left[0], left[1], right
            o, t, i = axis.triples
            cross = (lo[:, None] * axis.outputs + o, lt[:, None] * axis.taps + t, li[:, None] * axis.inputs + i)
            return sizes, tuple(c.ravel() for c in cross)

        zero = np.zeros(1, dtype=np.int64)
        return reduce(join, self.axes, ((), (zero, zero, zero)))[1]

    def _coo(self) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
        o, t, i = self._entries
        g, (co, ci) = self.groups, self.weight.shape[:2]
        w = self.weight.reshape(co, ci, -1)[:, :, t]
        sites_out, sites_in = math.prod(a.outputs for a in self.axes), math.prod(a.inputs for a in self.axes)
        rows = np.broadcast_to((np.arange(co) * sites_out)[:, None, None] + o, w.shape)
        channel = np.arange(ci) + (np.arange(co) // (co // g) * ci)[:, None]
        columns = channel[:, :, None] * sites_in + i
        return w.ravel(), (rows.ravel(), columns.ravel())

    def sparse(self) -> sp.csr_array:
        return sp.csr_array(self._coo(), shape=(self.output_size, self.input_size))

    def dense(self) -> np.ndarray:
        values, at = self._coo()
        matrix = np.zeros((self.output_size, self.input_size))
        if self.entry_sums == 1:
            matrix[at] = values
        else:
            np.add.at(matrix, at, values)
        return matrix


def _pad(x: np.ndarray, axes: tuple[Axis, ...]) -> np.ndarray:
    """(n, c, *inputs) -> (n, c, *lengths)."""
    for k, a in enumerate(axes):
        if a.mode == "zeros":
            if a.low == 0 and a.length == a.inputs:
                continue
            padded = np.zeros((*x.shape[: k + 2], a.length, *x.shape[k + 3 :]), dtype=x.dtype)
            start, stop = max(0, -a.low), min(a.inputs, a.length - a.low)
            if start < stop:
                lead = (slice(None),) * (k + 2)
                padded[(*lead, slice(start + a.low, stop + a.low))] = x[(*lead, slice(start, stop))]
            x = padded
        else:
            x = np.take(x, a.source, axis=k + 2)
    return x


def _unpad(padded: np.ndarray, axes: tuple[Axis, ...]) -> np.ndarray:
    """Adjoint of `_pad`: copied pixels are added up."""
    for k, a in enumerate(axes):
        if a.mode == "zeros" and a.low == 0 and a.length == a.inputs:
            continue
        lead = (slice(None),) * (k + 2)
        x = np.zeros((*padded.shape[: k + 2], a.inputs, *padded.shape[k + 3 :]))
        start, stop = max(0, -a.low), min(a.inputs, a.length - a.low)  # the pixels themselves, at once
        if start < stop:
            x[(*lead, slice(start, stop))] = padded[(*lead, slice(start + a.low, stop + a.low))]
        if a.mode != "zeros":
            for j in [*range(min(a.low, a.length)), *range(min(a.low + a.inputs, a.length), a.length)]:
                x[(*lead, a.source[j])] += padded[(*lead, j)]
        padded = x
    return padded
