"""Violations as polynomials: on a batch of patches, every constraint's violation v is a polynomial plus or minus an error.

v <= 0 is what a constraint asks for. With V (P, J, M) and error (P, J), the violation of constraint j on patch q is V[q, j](s) +- error[q, j] for every s of
the domain, all readings of the user's numbers and all rounding included: `inner` takes the reading with the larger violation, `outer` the smaller one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from certify.core.rounding import TINY, U, gamma, norms_up, up

from ..dynamics.tape_kernels import tape_taylor
from ..sets.base import image
from ..sets.kernels import poly_ranges
from ..sets.ring import Ring
from .enclose import enclose
from .patches import Patch
from .regions import Affine, Constraint, Region, Smooth


class Model(NamedTuple):
    """V (P, J, M), error (P, J), and direct enclosures lower, upper (P, J) of the violations (infinite where there are none)."""

    rows: np.ndarray
    error: np.ndarray
    lower: np.ndarray
    upper: np.ndarray


def affine_model(constraints: tuple[Affine, ...], patches: list[Patch], inner: bool) -> tuple[np.ndarray, np.ndarray]:
    """(V, error) of half-spaces on patches of one ring: combined first, so that correlations survive."""
    rows = np.stack([p.coefficients for p in patches])
    normal = np.stack([c.normal for c in constraints])
    spread = np.stack([_generators(p, normal) for p in patches])
    deviation = np.stack([_size(p) for p in patches]) if any(c.spread.any() for c in constraints) else np.zeros((len(patches), rows.shape[1]))
    return combine(constraints, rows, spread, deviation, inner)


def combine(constraints: tuple[Affine, ...], rows: np.ndarray, spread: np.ndarray, deviation: np.ndarray, inner: bool) -> tuple[np.ndarray, np.ndarray]:
    """(V, error) for state polynomials rows (P, n, M) whose part outside changes c . x by at most spread (P, J), and x_i by at most deviation (P, n).

    Rounding: an inner product with k nonzero coefficients errs by at most gamma_k |c| . |p| in the sum over monomials, none for k = 1 and |c| = 1; the
    offset is subtracted from the constant monomial with one rounding.
    """
    normal = np.stack([c.normal for c in constraints])
    offset = np.array([c.low if inner else c.high for c in constraints])
    extra = np.stack([c.spread for c in constraints])
    with np.errstate(all="ignore"):
        made = np.matmul(normal, rows)
        count = (normal != 0).sum(axis=1)
        unit = (count == 1) & (np.abs(normal).sum(axis=1) == 1)
        plain = unit.all() and not extra.any()
        size = np.zeros(rows.shape[:2]) if plain else norms_up(rows.reshape(-1, rows.shape[2]), "l1").reshape(rows.shape[:2])
        slack = np.where(unit, 0.0, [gamma(2 * int(k) + 8) for k in count])
        error = np.where(unit, 0.0, up(up(size @ np.abs(normal).T * slack) + TINY))
        made[:, :, 0] -= offset
        error = up(error + up(U * np.abs(made[:, :, 0])))
        if extra.any():
            error = up(error + up(up(size + deviation) @ extra.T * (1 + gamma(2 * normal.shape[1] + 8)) + TINY))
        return made, up(error + spread)


def _generators(patch: Patch, normal: np.ndarray) -> np.ndarray:
    """(J,) upper ends of |c E|_1 + |c| . radius."""
    total = np.zeros(len(normal))
    with np.errstate(all="ignore"):
        if patch.generators.shape[1]:
            value, radius = image(normal, patch.generators)
            total = up(norms_up(value, "l1") + norms_up(radius, "l1"))
        if patch.radius.any() or not np.isfinite(patch.radius).all():
            part = np.abs(normal) @ patch.radius
            total = up(total + up(part * (1 + gamma(2 * len(patch.radius) + 8)) + TINY))
    return total


def _size(patch: Patch) -> np.ndarray:
    """(n,) upper ends of the deviation of each state from its polynomial."""
    e = norms_up(patch.generators, "l1") if patch.generators.shape[1] else np.zeros(len(patch.radius))
    return np.where(patch.radius == 0, e, up(e + patch.radius))


class StateModel:
    """Violations of any constraints, made anew on every batch of cut state polynomials: half-spaces, and formulas by intervals and by Taylor models."""

    def __init__(self, region: Region, patches: list[Patch], inner: bool):
        self.constraints, self.inner = region.constraints, inner
        self.affine = [j for j, c in enumerate(self.constraints) if isinstance(c, Affine)]
        normal = np.stack([self.constraints[j].normal for j in self.affine]) if self.affine else np.zeros((0, region.dimension))  # type: ignore[union-attr]
        self.spread = np.stack([_generators(p, normal) for p in patches])
        self.deviation = np.stack([_size(p) for p in patches])
        self.rows = np.stack([p.coefficients for p in patches])

    def __call__(self, r: Ring, rows: np.ndarray, cut: np.ndarray, root: np.ndarray) -> Model:
        """rows (P, n, M) with rounding errors cut (P, n), of the patches numbered root (P,)."""
        P, J = len(rows), len(self.constraints)
        deviation = np.where(cut == 0, self.deviation[root], up(self.deviation[root] + cut))
        made, error = np.zeros((P, J, r.size)), np.full((P, J), np.inf)
        lower, upper = np.full((P, J), -np.inf), np.full((P, J), np.inf)
        if self.affine:
            some: tuple[Affine, ...] = tuple(self.constraints[j] for j in self.affine)  # type: ignore[misc]
            normal = np.stack([c.normal for c in some])
            spread = self.spread[root]
            if cut.any():
                spread = up(spread + up(cut @ np.abs(normal).T * (1 + gamma(2 * cut.shape[1] + 8)) + TINY))
            made[:, self.affine], error[:, self.affine] = combine(some, rows, spread, deviation, self.inner)
        lo, hi = (e.reshape(P, -1) for e in poly_ranges(np.ascontiguousarray(rows.reshape(-1, r.size)), r.even))
        with np.errstate(all="ignore"):
            lo, hi = np.nextafter(lo - deviation, -np.inf), np.nextafter(hi + deviation, np.inf)
        for j, constraint in enumerate(self.constraints):
            if isinstance(constraint, Smooth):
                below, above = enclose(constraint.tape, lo, hi)
                lower[:, j], upper[:, j] = -above, -below
                for q in range(P):
                    made[q, j], error[q, j] = _taylor(constraint, r, rows[q], deviation[q])
        return Model(made, error, lower, upper)


def _taylor(constraint: Constraint, r: Ring, rows: np.ndarray, deviation: np.ndarray) -> tuple[np.ndarray, float]:
    """(V, error) of -g after substitution of the state polynomials; 0 +- inf where g may be undefined."""
    tape = constraint.tape  # type: ignore[union-attr]
    c, remainder = tape_taylor(tape.op, tape.a, tape.b, tape.c, tape.r, np.ascontiguousarray(rows), deviation, *r.tables)
    out = int(tape.outputs[0])
    if not (np.isfinite(c).all() and np.isfinite(remainder).all()):  # any part undefined: nothing is claimed
        return np.zeros(r.size), np.inf
    return -c[out], float(remainder[out])
