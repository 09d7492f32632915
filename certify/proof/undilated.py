"""A zero-padded convolution axis by axis: live taps, undilated sections (methods/layer_norms.md 4.1), strides as column phases (4.2)."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

from .windows import Axis, Windows


@dataclass(frozen=True)
class Reduced:
    """One axis of a zero-padded convolution after 4.1: undilated sections, one per class of outputs, with the same taps and stride."""

    taps: int
    stride: int
    sections: tuple[tuple[int, int, int], ...]  # (inputs, low padding, which may be negative, outputs)

    @property
    def shifts(self) -> int:
        return -(-self.taps // self.stride)

    @property
    def least(self) -> int:
        """Least period of Theorem 1 over all sections."""
        s, k = self.stride, self.taps
        return max((max(-(-(n + p) // s), -(-(s * (m - 1) - p + k) // s), m) for n, p, m in self.sections), default=1)


def reduced(a: Windows) -> tuple[np.ndarray, list[Reduced]] | None:
    """The weights from the first to the last live tap of every axis, (groups, rows, columns, *taps), and the axes without dilation. None when no tap is live."""
    weight, axes = a.weight, []
    for i, axis in enumerate(a.axes):
        live = np.nonzero((axis.source >= 0).any(axis=0))[0]
        if not len(live):
            return None
        first, last = int(live[0]), int(live[-1])
        weight = weight.take(np.arange(first, last + 1), axis=3 + i)
        axes.append(_undilated(axis, last - first + 1, axis.low - axis.dilation * first))
    return weight, axes


def _undilated(axis: Axis, taps: int, low: int) -> Reduced:
    """4.1: every class rho of outputs is an undilated section of stride s / gcd(s, d) that reads one class of pixels."""
    e = math.gcd(axis.stride, axis.dilation)
    offset = -low % e
    n, p = -(-(axis.inputs - offset) // e), (low + offset) // e
    s, d = axis.stride // e, axis.dilation // e
    sections = []
    for rho in range(d):
        q, c = divmod(s * rho - p, d)
        sections.append((-(-(n - c) // d), -q, -(-(axis.outputs - rho) // d)))
    return Reduced(taps, s, tuple(x for x in sections if x[0] > 0 and x[2] > 0))


def split(weight: np.ndarray, strides: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """4.2: tap t goes to shift t // s and column phase t mod s. Weights (groups, rows, columns, *taps) to (kernel, shifts): (groups, J, rows, columns
    times phases), the phases of the last axis running fastest, and the shift vectors (J, D)."""
    taps, d = weight.shape[3:], weight.ndim - 3
    shifts = [-(-k // s) for k, s in zip(taps, strides)]
    padded = np.zeros((*weight.shape[:3], *(j * s for j, s in zip(shifts, strides))))
    padded[(slice(None), slice(None), slice(None), *(slice(0, k) for k in taps))] = weight
    parts = padded.reshape(*weight.shape[:3], *itertools.chain(*zip(shifts, strides)))
    order = (0, *(3 + 2 * i for i in range(d)), 1, 2, *(4 + 2 * i for i in range(d)))
    kernel = parts.transpose(order).reshape(len(weight), math.prod(shifts), weight.shape[1], -1)
    return kernel, np.array(list(itertools.product(*(range(j) for j in shifts))), dtype=np.int64).reshape(-1, d)
