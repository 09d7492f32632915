"""Bernstein form: tensor polynomials by their Bernstein coefficients on a box; range, degree elevation, subdivision, each with its rounding."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from certify.core.errors import InputError
from certify.core.interval import Interval
from certify.core.regions import Box
from certify.core.rounding import down, norms_up, up

from .base import LARGEST, Set, as_box, direction_of, enclosing, finite, image, matrix_of, plus, roundings, total_up, weighted_up
from .bernstein_basis import along, casteljau, elevation, from_power, slack, unit_coordinates, weights
from .box import split as split_box
from .polynomial import Polynomial


@dataclass(frozen=True, eq=False)
class BernsteinForm:
    """n functions on a box: every g with |g_i(x) - B_i(x)| <= error_i, where with y_j = (x_j - lower_j) / (upper_j - lower_j)

        B_i(x) = sum_k b[i, k] prod_j C(d_j, k_j) y_j^k_j (1 - y_j)^(d_j - k_j).

    As a `Set` it is {B(x) + e : x in the box, |e| <= error}.

    Args:
        coefficients: (n, d_1 + 1, ..., d_f + 1). lower, upper: (f,), finite; the degree is 0 where the width is 0. error: (n,), zeros by default.

    Guarantee: the range of B lies between the least and the largest coefficient (the weights are nonnegative with sum 1), and is attained where that
    coefficient is a corner. Every verb adds its rounding to `error`.
    Raises: InputError for shapes, ReachError for entries that are not finite. Cost: products of the d_j + 1 grow exponentially with f.
    Source: Farouki, Computer Aided Geometric Design 29 (2012), sections 3-5; the abstraction of controllers is ReachNN's (Huang et al. 2019).

    >>> b = BernsteinForm([[0.0, 0.0, 1.0]], [0.0], [2.0])          # (x / 2)^2
    >>> b.box().upper.tolist(), b.evaluate([[1.0]]).contains(0.25)
    ([1.0], True)
    """

    coefficients: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    error: np.ndarray = None  # type: ignore[assignment]

    def __post_init__(self):
        b, region = np.atleast_1d(np.array(self.coefficients, np.float64)), Box(self.lower, self.upper)
        e = np.zeros(len(b)) if self.error is None else np.array(self.error, np.float64)
        if b.ndim < 1 or region.lower.shape != (b.ndim - 1,) or e.shape != (len(b),) or 0 in b.shape[1:] or not (e >= 0).all():
            found = f"coefficients {b.shape}, box {region.lower.shape}, error {e.shape}"
            raise InputError("a Bernstein form's arrays do not fit", where="BernsteinForm", found=found, expected="(n, d_1 + 1, ..., d_f + 1), (f,), (n,) >= 0")
        with np.errstate(over="ignore", invalid="ignore"):
            finite("Bernstein form", b, e, region.upper - region.lower)
        for j, d in enumerate(b.shape[1:]):
            if d > 1 and region.lower[j] == region.upper[j]:
                raise InputError("a coordinate of zero width has degree 0", where=f"BernsteinForm, coordinate {j}", found=f"degree {d - 1}")
        for name, value in {"coefficients": b, "lower": region.lower, "upper": region.upper, "error": e}.items():
            value.setflags(write=False)
            object.__setattr__(self, name, value)

    @classmethod
    def from_function(cls, function: Callable[[np.ndarray], np.ndarray], box: Box, degrees: Sequence[int]) -> BernsteinForm:
        """Bernstein's operator: the coefficients are the values at the nodes, as floats. Interpolates at the corners; says nothing about the error between.

        `function` maps (count, f) to (count, n) or (count,). A coordinate of zero width gets degree 0.
        """
        degrees = _degrees(degrees, box)
        values = np.asarray(function(nodes(box, degrees)), np.float64)
        values = values[:, None] if values.ndim == 1 else values
        return cls(values.T.reshape(-1, *(d + 1 for d in degrees)), box.lower, box.upper)

    @classmethod
    def from_polynomial(cls, p: Polynomial) -> BernsteinForm:
        """The same functions on the ring's domain, of the smallest degrees; the conversion's rounding and p's remainder go to `error`.

        Proof. Entries of the conversion matrices have size <= 1 (`bernstein_basis.from_power`) and are rounded once; a coefficient is sum_a c_a prod_j t_j with
        at most d_j + 2 roundings on axis j, so it errs by at most gamma_N |c|_1, N = sum_j (d_j + 2). Underflow: `slack`.
        """
        used = p.ring.exponents[(p.coefficients != 0.0).any(axis=0)] if p.rows else p.ring.exponents[:1]
        degrees = used.max(axis=0, initial=0).astype(int)
        if p.rows * math.prod((degrees + 1).tolist()) > LARGEST:
            raise InputError("this tensor form is too large", found=f"degrees {degrees.tolist()}", expected=f"at most {LARGEST} coefficients", hint="lower the order")
        shape, inside = tuple((degrees + 1).tolist()), (p.ring.exponents <= degrees).all(axis=1)
        b = np.zeros((p.rows, math.prod(shape)))
        b[:, np.ravel_multi_index(tuple(p.ring.exponents[inside].T), shape) if shape else [0]] = p.coefficients[:, inside]
        b = b.reshape(p.rows, *shape)
        lower = np.full(p.ring.variables, -1.0)
        lower[p.ring.variables - p.ring.time :] = 0.0
        for j, d in enumerate(degrees.tolist()):
            b = along(from_power(d, p.ring.time and j == p.ring.variables - 1), b, j + 1)
        rounding = slack(int((degrees + 2).sum()), norms_up(p.coefficients, "l1")) if degrees.any() else np.zeros(p.rows)
        return cls(b, lower, np.ones(p.ring.variables), plus(p.remainder, rounding))

    @property
    def dimension(self) -> int:
        return len(self.coefficients)

    @property
    def degrees(self) -> tuple[int, ...]:
        return tuple(d - 1 for d in self.coefficients.shape[1:])

    @property
    def rows(self) -> np.ndarray:
        """(n, K) the coefficients, flattened."""
        return self.coefficients.reshape(self.dimension, math.prod(self.coefficients.shape[1:]))

    def range(self) -> Interval:
        """(n,) enclosures: least and largest coefficient, widened by the error; exact ends where the error is 0."""
        return self._around(self.rows.min(axis=1), self.rows.max(axis=1), self.error)

    @staticmethod
    def _around(lower: np.ndarray, upper: np.ndarray, radius: np.ndarray) -> Interval:
        with np.errstate(over="ignore"):
            return enclosing(np.where(radius == 0.0, lower, down(lower - radius)), np.where(radius == 0.0, upper, up(upper + radius)))

    def box(self) -> Box:
        return as_box(self.range())

    def support(self, direction: ArrayLike) -> float:
        """The rows are combined first: the largest coefficient of c . B, its rounding, and |c| . error."""
        c = direction_of(self.dimension, direction)
        value, radius = image(c[None], self.rows)
        return total_up(np.array([value.max(), radius.max(), weighted_up(c, self.error)]))

    def sample(self, count: int, seed: int = 0) -> np.ndarray:
        """(count, n) members up to the rounding of their evaluation: half of them at corners of the box."""
        rng = np.random.default_rng(seed)
        y = rng.random((count, len(self.lower)))
        corner = rng.random(count) < 0.5
        y[corner] = np.round(y[corner])
        return self._values(y) + rng.uniform(-1, 1, (count, self.dimension)) * self.error

    def _values(self, y: np.ndarray) -> np.ndarray:
        """(count, n) computed values at unit coordinates (count, f): one axis after the other."""
        made = np.broadcast_to(self.coefficients, (len(y), *self.coefficients.shape))
        for j, d in enumerate(self.degrees):
            made = np.einsum("cnk...,ck->cn...", made, weights(d, y[:, j]))
        return made

    def evaluate(self, points: ArrayLike) -> Interval:
        """(count, n) enclosures of the values (error included) at points (count, f) of the box; InputError for a point outside.

        Proof. The computed y_j errs by at most gamma_3 (`unit_coordinates`), and |dB/dy_j| <= 2 d_j max|b|. Weights are sums of products of nonnegative
        numbers with at most 3 d_j roundings each, the contraction adds d_j + 1: in all gamma_N max|b| with N = sum_j (10 d_j + 1). Underflow: `slack`.
        """
        x = np.asarray(points, np.float64)
        if x.ndim != 2 or x.shape[1] != len(self.lower) or not ((self.lower <= x) & (x <= self.upper)).all():
            raise InputError("these are not points of the form's box", found=f"shape {x.shape}", expected=f"(count, {len(self.lower)}), inside the box")
        value = self._values(unit_coordinates(x, self.lower, self.upper))
        rounding = slack(sum(10 * d + 1 for d in self.degrees), np.abs(self.rows).max(axis=1)) if any(self.degrees) else np.zeros(self.dimension)
        return self._around(value, value, np.broadcast_to(plus(rounding, self.error), value.shape))

    def affine(self, matrix: ArrayLike, offset: ArrayLike | None = None) -> Set:
        """W g + b, again a Bernstein form: the coefficients are combined, rounding and |W| error go to the error. ReachError on overflow."""
        w, b = matrix_of(self.dimension, matrix, offset)
        value, radius = image(w, self.rows)
        with np.errstate(all="ignore"):
            moved = value + b[:, None]
        finite("Bernstein form", moved, radius)
        rounding = roundings(np.where(b == 0.0, 0.0, np.abs(moved).max(axis=1))[:, None])
        carried = np.array([weighted_up(row, self.error) for row in w])
        return BernsteinForm(moved.reshape(len(w), *self.coefficients.shape[1:]), self.lower, self.upper, plus(carried, radius.max(axis=1), rounding))

    def elevate(self, degrees: Sequence[int]) -> BernsteinForm:
        """The same functions with higher degrees; the coefficients come closer to the graph. InputError for a lower degree, or one above 0 at zero width.

        Proof. The weights are nonnegative with sum 1 and rounded once, so a coefficient errs by at most gamma_N max|b|, N = sum_j (d_j + 2).
        """
        if len(degrees) != len(self.degrees) or any(new < old for new, old in zip(degrees, self.degrees)):
            raise InputError("degrees can only be raised", found=list(degrees), expected=f"at least {list(self.degrees)}")
        b, raised = self.coefficients, [(j, old, int(new)) for j, (old, new) in enumerate(zip(self.degrees, degrees)) if new > old]
        for j, old, new in raised:
            b = along(elevation(old, new), b, j + 1)
        rounding = slack(sum(old + 2 for _, old, _ in raised), np.abs(self.rows).max(axis=1)) if raised else np.zeros(self.dimension)
        return BernsteinForm(b, self.lower, self.upper, plus(self.error, rounding))

    def split(self, dimension: int, cut: float | None = None) -> tuple[BernsteinForm, BernsteinForm]:
        """The form on the two parts of its box (`box.split`), by de Casteljau's scheme.

        Proof. The computed position errs by at most gamma_3, a coefficient moves by at most 2 d max|b| times that; a step of the scheme costs gamma_3 max|b|,
        and there are d: in all gamma_(9 d) max|b|. Underflow: `slack`.
        """
        below, above = split_box(Box(self.lower, self.upper), dimension, cut)
        d, at = self.degrees[dimension], unit_coordinates(below.upper[None], self.lower, self.upper)[0, dimension]
        left, right = casteljau(np.moveaxis(self.coefficients, dimension + 1, 0), float(at))
        error = plus(self.error, slack(9 * d, np.abs(self.rows).max(axis=1)) if d else np.zeros(self.dimension))
        parts = [(left, below), (right, above)]
        first, second = (BernsteinForm(np.moveaxis(b, 0, dimension + 1), part.lower, part.upper, error) for b, part in parts)
        return first, second


def _degrees(degrees: Sequence[int], box: Box) -> list[int]:
    if len(degrees) != box.lower.size or min(degrees, default=0) < 0:
        raise InputError("a Bernstein form needs a degree per coordinate", found=list(degrees), expected=f"{box.lower.size} numbers >= 0")
    return [int(d) if l < u else 0 for d, l, u in zip(degrees, box.lower, box.upper)]


def nodes(box: Box, degrees: Sequence[int]) -> np.ndarray:
    """(prod (d_j + 1), f) nodes lower + width k / d inside the box, the last coordinate fastest; ends are met exactly, degree 0 is the middle."""
    axes = []
    for d, l, u in zip(degrees, box.lower, box.upper):
        t = np.arange(d + 1) / d if d else np.array([0.5])
        axis = np.clip((1.0 - t) * l + t * u, l, u)
        if d:
            axis[0], axis[-1] = l, u
        axes.append(axis)
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes)) if axes else np.zeros((1, 0))
