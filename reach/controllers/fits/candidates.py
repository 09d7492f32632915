"""Candidate polynomials, one row per neuron, in powers of t on [-1, 1]. Nothing here is proved: `generic` bounds the error of what comes out, whatever it is."""

from __future__ import annotations

from collections.abc import Callable
from math import comb

import numpy as np

from ...sets.jit import jit
from .chebyshev import NUMBER, POINTS, TO_POWER, WEIGHTS
from .remez import exchange, extrema, powers

Values = Callable[[np.ndarray], np.ndarray]  # t (points,) -> activation at m + w t, shape (points, k)

_SEARCH = -np.cos(np.pi * np.arange(257) / 256)


def chebyshev(values: Values, degree: int) -> np.ndarray:
    """The Chebyshev series of the 32-point interpolant, cut after `degree`."""
    series = WEIGHTS[-1][:, : degree + 1].T @ values(POINTS[-1, : NUMBER[-1]])
    return np.ascontiguousarray((TO_POWER[: degree + 1, : degree + 1] @ series).T)


def minimax(values: Values, degree: int) -> np.ndarray:
    """Discrete Remez exchange on 257 points."""
    return best_rows(_SEARCH, np.ascontiguousarray(values(_SEARCH).T), degree)


def bernstein(values: Values, degree: int) -> np.ndarray:
    """The Bernstein polynomial sum_i f(2 i / d - 1) C(d, i) ((1 + t) / 2)^i ((1 - t) / 2)^(d - i): monotone, convex where f is."""
    rows = np.zeros((degree + 1, degree + 1))
    for i in range(degree + 1):
        row = np.array([comb(degree, i) / 2.0**degree])
        for factor in [[1.0, 1.0]] * i + [[1.0, -1.0]] * (degree - i):
            row = np.convolve(row, factor)
        rows[i] = row
    return np.ascontiguousarray(values(np.linspace(-1.0, 1.0, degree + 1)).T @ rows)


def taylor(tanh_at_centre: np.ndarray, radius: np.ndarray, degree: int) -> np.ndarray:
    """Taylor polynomial of tanh at the centre, from y' = 1 - y^2: (j + 1) y_(j+1) = [j = 0] - sum_i y_i y_(j-i)."""
    y = [tanh_at_centre]
    for j in range(degree):
        y.append(((j == 0) - sum(y[i] * y[j - i] for i in range(j + 1))) / (j + 1))
    return np.stack([c * radius**j for j, c in enumerate(y)], axis=1)


@jit
def best_rows(t, rows, degree):
    """`exchange` for each row of values at the points t."""
    out, basis = np.zeros((len(rows), degree + 1)), powers(t, degree)
    for i in range(len(rows)):
        exchange(basis, rows[i], extrema(degree + 2, len(t)), 12, 1.001, out[i])
    return out


def candidate(method: str, values: Values, degree: int) -> np.ndarray:
    """The polynomials of that method; a row with an entry that is not finite becomes the constant of the middle value."""
    with np.errstate(all="ignore"):
        p = {"chebyshev": chebyshev, "bernstein": bernstein}.get(method, minimax)(values, degree)
        bad = ~np.isfinite(p).all(1)
        if bad.any():
            p[bad] = 0.0
            p[bad, 0] = values(np.zeros(1))[0, bad]
    return p
