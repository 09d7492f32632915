"""The table of ReLU fits: for 2049 knots a polynomial close to max(t - knot, 0) on [-1, 1], with a proved error."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np

from ...sets.jit import jit
from .remez import exchange, extrema, powers

HALF = 1024  # knots j / HALF - 1, j = 0..2 HALF: exact floats
POINTS = 300  # of the search, not of the proof
CELLS = 256  # of the proof, cut into FINE where it matters
FINE = 64
UNIT = 1.2e-16


class Table(NamedTuple):
    """|sum_i coefficients[j, i] t^i - max(t - knots[j], 0)| <= error[j] for every real t in [-1, 1]; knots[j] = j / 1024 - 1."""

    knots: np.ndarray
    coefficients: np.ndarray
    error: np.ndarray


@jit
def cell_gap(h, second):
    """(h + 5e-16)^2 / 8 * second, rounded up."""
    return (h * h / 8.0 + 2e-16 * h + 1e-31) * second * (1.0 + 1e-13)


@jit
def piece_error(p, a, b, slope, knot):
    """Upper end of |p(t) - slope (t - knot)| for t in [a, b], slope 0 or 1: branch and bound.

    On a cell of length h with ends l, r linear interpolation gives |e| <= max(|e(l)|, |e(r)|) + h^2 / 8 sup |p''|, sup |p''| <= sum j (j-1) |p_j|. Cells
    of length (b - a) / CELLS whose bound exceeds the largest sample are cut into FINE parts; the largest of all bounds that remain holds for the
    whole piece. The points are the floats l = a + i h, |l| <= 1: two neighbours are at most h + 5e-16 apart, which `gap` squares.
    """
    degree = len(p) - 1
    size, second = 1.0, 0.0
    for j in range(degree + 1):
        size += abs(p[j])
        second += j * (j - 1) * abs(p[j])
    h = (b - a) / CELLS
    gap = cell_gap(h, second)
    sample = np.empty(CELLS + 1)
    most = 0.0
    for i in range(CELLS + 1):
        t = a + i * h if i < CELLS else b
        s = p[degree]
        for j in range(degree - 1, -1, -1):
            s = s * t + p[j]
        sample[i] = abs(s - slope * (t - knot))
        most = max(most, sample[i])
    worst = 0.0
    for i in range(CELLS):
        bound = max(sample[i], sample[i + 1]) + gap
        if bound <= most:
            worst = max(worst, bound)
            continue
        end = a + (i + 1) * h if i + 1 < CELLS else b
        start = a + i * h
        f = (end - start) / FINE
        inside = 0.0
        for c in range(FINE + 1):
            t = start + c * f if c < FINE else end
            s = p[degree]
            for j in range(degree - 1, -1, -1):
                s = s * t + p[j]
            inside = max(inside, abs(s - slope * (t - knot)))
        worst = max(worst, inside + cell_gap(f, second))
    return max(worst, most) + (2.0 * degree + 4.0) * UNIT * size


@jit
def build(degree):
    """Knots, coefficients, errors."""
    count = 2 * HALF + 1
    knots, coefficients, error = np.empty(count), np.zeros((count, degree + 1)), np.zeros(count)
    t = -np.cos(np.pi * np.arange(POINTS + 1.0) / POINTS)
    points, f = t.copy(), np.empty(POINTS + 1)
    reference = extrema(degree + 2, POINTS + 1)
    for j in range(count):
        knot = j / HALF - 1.0
        knots[j] = knot
        if j == 0:
            coefficients[j, 0], coefficients[j, 1] = 1.0, 1.0  # t + 1 itself
        elif j < count - 1:
            points[:] = t
            points[min(max(int(np.searchsorted(t, knot)), 1), POINTS - 1)] = knot
            for i in range(POINTS + 1):
                f[i] = max(points[i] - knot, 0.0)
            exchange(powers(points, degree), f, reference, 12, 1.0001, coefficients[j])
            error[j] = max(piece_error(coefficients[j], -1.0, knot, 0.0, knot), piece_error(coefficients[j], knot, 1.0, 1.0, knot))
    return knots, coefficients, error


@cache
def relu_table(degree: int) -> Table:
    """The table of that degree, built once per process.

    >>> table = relu_table(1)
    >>> float(table.knots[1024]), bool(0.25 <= table.error[1024] < 0.2501)
    (0.0, True)
    """
    table = Table(*build(degree))
    for array in table:
        array.setflags(write=False)
    return table
