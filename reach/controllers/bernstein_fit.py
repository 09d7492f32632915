"""Candidates for the polynomial: the classical Bernstein operator at its nodes, and least squares written in Bernstein form. No proof rests on this file."""

from __future__ import annotations

import functools
import itertools
import math

import numpy as np

from ..sets.ring import ring
from .bernstein_form import Tensor, _power_matrix
from .bernstein_source import Domain, Source

_LARGEST = 1100  # coefficients of a fitted form: its derivatives are evaluated on every cell


def nodes(degrees: tuple[int, ...]) -> np.ndarray:
    """(prod(d_i + 1), n) grid of [-1, 1]^n with d_i + 1 equidistant points per coordinate; the middle for d_i = 0."""
    axes = [np.linspace(-1.0, 1.0, d + 1) if d else np.zeros(1) for d in degrees]
    return np.array(list(itertools.product(*axes))).reshape(math.prod(d + 1 for d in degrees), len(degrees))


def classical(source: Source, domain: Domain, degrees: tuple[int, ...]) -> tuple[Tensor, np.ndarray]:
    """The Bernstein operator: coefficients are the middles of the node values; with the largest half width per output."""
    value, half = source.values(domain.points(nodes(degrees)))
    return Tensor(np.ascontiguousarray(value.T).reshape(value.shape[1], *(d + 1 for d in degrees))), half.max(axis=0)


def raised(source: Source, domain: Domain, influence: np.ndarray, highest: int, most: int, points: np.ndarray, values: np.ndarray, goal: float) -> tuple[Tensor, np.ndarray]:
    """The classical form whose degrees are raised one by one where influence^2 / degree is largest, until the error at `points` is small or stops falling."""
    n = len(influence)
    degrees, best, least, stuck = [1] * n, None, math.inf, 0
    while True:
        found = classical(source, domain, tuple(degrees))
        e = misfit(found[0], points, values)
        stuck = 0 if e < 0.95 * least else stuck + 1
        if best is None or e < least:
            best, least = found, e
        free = [i for i in range(n) if degrees[i] < highest]
        if least <= goal or stuck > n or not free:
            return best
        degrees[max(free, key=lambda i: influence[i] ** 2 / degrees[i])] += 1
        if math.prod(d + 1 for d in degrees) > most:
            return best


def misfit(form: Tensor, points: np.ndarray, values: np.ndarray) -> float:
    """Half the range of the residual at the points, the largest over the outputs."""
    e = values - form.values(points)[0]
    return float((e.max(axis=0) - e.min(axis=0)).max(initial=0.0)) / 2


@functools.lru_cache(maxsize=32)
def sample_points(count: int, n: int) -> np.ndarray:
    """(count, n) points of [-1, 1]^n: the centre, corners, and points that are denser near the faces; always the same ones."""
    rng = np.random.default_rng(0)
    points = np.cos(np.pi * rng.random((count, n)))
    some = list(itertools.islice(itertools.product((-1.0, 1.0), repeat=n), count // 4))
    corners = np.array(some).reshape(len(some), n)
    points[: len(corners)] = corners
    points[len(corners) : len(corners) + 1] = 0.0
    points.setflags(write=False)
    return points


def fitted(count: int, values: np.ndarray, order: int, spread: np.ndarray, goal: float) -> Tensor:
    """Least squares over the polynomials of total degree <= k, for the k <= order whose error at `sample_points` plus what the deviation adds is least.

    `values` (count, outputs) are the controller's at these points, `spread` (n,) is |E_i| / h_i, the size of the deviation in t: a steep polynomial may fit
    better and spreads it more. The first k with a tenth of `goal` is taken at once.
    """
    n = len(spread)
    best, least = Tensor(values.mean(axis=0).reshape(-1, *(1,) * n)), math.inf
    for k in range(order + 1):
        if (k + 1) ** n > _LARGEST or ring(n, k).size > count:
            break
        powers, inverse, turned = _design(count, n, k)
        c = inverse @ values
        e = values - powers @ c
        score = float((e.max(axis=0) - e.min(axis=0)).max(initial=0.0)) / 2
        if score >= 0.9 * least:
            continue
        form = Tensor(np.ascontiguousarray((turned @ c).T).reshape(-1, *(k + 1,) * n))
        low, high = form.slopes
        score += float((0.5 * (high - low) @ spread).max(initial=0.0))
        if score < 0.9 * least:
            best, least = form, score
        if score <= 0.1 * goal:
            break
    return best


@functools.lru_cache(maxsize=128)
def _design(count: int, n: int, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Monomials of total degree <= k at the sample points (count, m), their pseudo-inverse, and their Bernstein coefficients ((k + 1)^n, m)."""
    exponents = ring(n, k).exponents
    powers = np.prod(sample_points(count, n)[:, None, :] ** exponents[None], axis=2)
    place = np.ravel_multi_index(tuple(exponents.T), (k + 1,) * n) if n else np.zeros(1, int)
    turned = np.zeros(((k + 1) ** n, len(exponents)))
    turned[place, np.arange(len(exponents))] = 1.0
    turned = turned.reshape(*(k + 1,) * n, -1)
    to_bernstein = np.linalg.inv(_power_matrix(k)[0])
    for i in range(n):
        turned = np.moveaxis(np.tensordot(to_bernstein, turned, (1, i)), 0, i)
    return powers, np.linalg.pinv(powers), turned.reshape((k + 1) ** n, -1)
