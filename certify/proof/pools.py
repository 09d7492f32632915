"""Average pools (any divisors) and window counts: one channel of the map is y[o] = (1 / divisor[o]) sum of the pixels in window o."""

from __future__ import annotations

import functools
import math
from fractions import Fraction

import numpy as np

from ..core.graph import Node
from ..core.rounding import TINY, U, fraction_up, gamma, mul_up, sqrt_up, up
from .gram import LARGEST_SIDE, matrix_below
from .windows import Axis, adds_exactly

_MOST_ENTRIES = 20_000_000


def window_axes(node: Node, in_shape: tuple[int, ...]) -> tuple[Axis, ...]:
    """The axes of a max_pool or avg_pool node."""
    dilation = node.attrs.get("dilation", (1,) * len(node.attrs["kernel"]))
    each = zip(in_shape[1:], node.shape[1:], node.attrs["kernel"], node.attrs["stride"], dilation, node.attrs["padding"], strict=True)
    return tuple(Axis(n, m, k, s, d, low, high) for n, m, k, s, d, (low, high) in each)


def most_readers(axes: tuple[Axis, ...]) -> int:
    """The largest number of windows that hold one pixel, counted on the actual shape."""
    return math.prod(int(axis.readers.sum(axis=0).max(initial=0.0)) for axis in axes)


class AveragePool:
    """Norms of one average pool node. The map is a direct sum of equal parts, one per channel, so one channel decides."""

    def __init__(self, node: Node, in_shape: tuple[int, ...]):
        divisor = np.asarray(node.float64("divisor"))
        self.axes = window_axes(node, in_shape)
        self.usable = bool(((divisor > 2.0**-900) & (divisor < 2.0**900)).all())
        self.divisor: np.ndarray = np.where(self.usable, divisor, 1.0)
        self.reads = [_incidence(axis) for axis in self.axes]

    @functools.cached_property
    def counts(self) -> np.ndarray:
        """Pixels in each window, by output."""
        total: np.ndarray = np.ones(())
        for read in self.reads:
            total = np.multiply.outer(total, read.sum(axis=1))
        return total

    @functools.cached_property
    def rows(self) -> list[tuple[int, Fraction]]:
        """(pixels, divisor) of every window, each different pair once: row sums and row norms follow exactly."""
        divisor = np.broadcast_to(self.divisor, self.counts.shape)
        pairs = np.unique(np.stack([self.counts.ravel(), divisor.ravel()], axis=1), axis=0)
        return [(int(count), Fraction(float(d))) for count, d in pairs.tolist()]

    @functools.cached_property
    def sums(self) -> tuple[float, float]:
        """Upper ends of the largest row and column sum; exact where the sums are."""
        columns = 1.0 / self.divisor  # each within u relative
        for read in self.reads:  # contracts the first remaining output axis and appends the pixel axis
            columns = np.tensordot(columns, read, axes=([0], [0]))
        end = float(columns.max(initial=0.0))
        powers = bool((np.abs(np.frexp(self.divisor)[0]) == 0.5).all())  # exact inverses
        if not (powers and adds_exactly(1.0 / self.divisor, most_readers(self.axes))):
            nonzero = sum(int(axis.readers.sum(axis=0).max()) for axis in self.axes)  # adding a zero rounds nothing
            end = up(up(end * (1 + 2 * gamma(nonzero + 2))) + TINY)
        return max(fraction_up(count / d) for count, d in self.rows), end

    def majorant(self, norm: str) -> float:
        rows, columns = self.sums
        return {"linf": rows, "l1": columns}.get(norm) or sqrt_up(mul_up(rows, columns))

    def below(self, bound: float, norm: str) -> str:
        """How ||A||_p <= bound was proved, or "" if it was not."""
        if not self.usable:
            return ""
        if norm == "linf":
            return "row sums" if max(count / d for count, d in self.rows) <= Fraction(bound) else ""
        disjoint = most_readers(self.axes) <= 1  # then the columns have one entry and the rows disjoint supports
        if disjoint:
            square = max((1 if norm == "l1" else count) / d**2 for count, d in self.rows if count)
            return "disjoint windows" if square <= Fraction(bound) ** 2 else ""
        if self.majorant(norm) <= bound:
            return "column sums" if norm == "l1" else "sqrt(l1 linf)"
        if norm == "l1":
            return ""
        sides = math.prod(axis.outputs for axis in self.axes), math.prod(axis.inputs for axis in self.axes)
        if min(sides) > LARGEST_SIDE or math.prod(sides) > _MOST_ENTRIES:
            return ""
        matrix = self.reads[0]
        for read in self.reads[1:]:
            matrix = np.kron(matrix, read)
        inverse = 1.0 / self.divisor
        matrix = matrix * inverse.reshape(-1, 1)
        exponent = math.frexp(float(inverse.max()))[1]
        scaled_bound = math.ldexp(bound, -exponent)
        slack = mul_up(2 * U, math.ldexp(self.majorant("l2"), -exponent)) + TINY
        exact = math.ldexp(scaled_bound, exponent) == bound
        return "assembled matrix of one channel" if exact and matrix_below(np.ldexp(matrix, -exponent), scaled_bound, slack) else ""


def _incidence(axis: Axis) -> np.ndarray:
    """(outputs, inputs) 1 where the window holds the pixel."""
    read = np.zeros((axis.outputs, axis.inputs))
    places, taps = np.nonzero(axis.source >= 0)
    read[places, axis.source[places, taps]] = 1.0
    return read
