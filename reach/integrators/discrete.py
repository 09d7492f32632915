"""Discrete plants: x+ = f(x, v, w), the set substituted into the update; no tube, and w is a fresh symbol in every step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..controllers.model import ControlModel
from ..dynamics.system import DiscreteSystem
from ..dynamics.tape_kernels import tape_jacobian, tape_taylor
from ..errors import ReachError
from ..sets.kernels import TINY, U, poly_ranges
from ..sets.polyzonotope import PolynomialZonotope, row_sums

SLACK = 1 + 1e-6


@dataclass(frozen=True, eq=False)
class Update:
    """One proved update: end = f(start, control, W); Jacobians (n, n + nu + nw) over the whole argument box."""

    start: PolynomialZonotope
    held_generators: np.ndarray
    jacobian: np.ndarray
    jacobian_radius: np.ndarray
    remainder: np.ndarray
    end: PolynomialZonotope


def update(plant: DiscreteSystem, state: PolynomialZonotope, control: ControlModel) -> Update:
    """The set after one update.

    Claim: for every state x = p(s) + E eps with its control and every w in W, f(x, v, w) is in the returned set, on the same symbols extended by fresh ones.
    Proof: f(p, pv, wc) is enclosed by Taylor arithmetic; the rest is J (E eps, Ev eps, ew) with J in the Jacobian's interval hull on the box that contains both
    arguments (mean value theorem); mid(J) keeps the symbols, rad(J) times the absolute sums becomes a fresh box.
    Raises:
        ReachError: the update is undefined or unbounded on the set.
    """
    lower, upper = plant.disturbance_lower, plant.disturbance_upper
    middle = 0.5 * lower + 0.5 * upper
    radius = np.where(lower == upper, 0.0, np.nextafter(np.maximum(upper - middle, middle - lower), np.inf))
    r, n, nu, nw = state.ring, state.dimension, len(control.box), len(middle)
    fresh = np.flatnonzero(control.box > 0)
    columns = np.zeros((nu, len(fresh)))
    columns[fresh, np.arange(len(fresh))] = control.box[fresh]
    E = np.hstack([state.generators, np.zeros((n, len(fresh)))])
    Ev = np.hstack([control.generators, columns])
    X = np.zeros((n + nu + nw, r.size))
    X[:n], X[n : n + nu], X[n + nu :, 0] = state.coefficients, control.coefficients, middle
    product, end, degree, even, order = r.tables
    tape = plant.tape
    code = (tape.op, tape.a, tape.b, tape.c, tape.r)
    C, R = tape_taylor(*code, X, np.zeros(len(X)), product, end, degree, even, order)
    lo, hi = poly_ranges(X, even)
    e0 = np.concatenate([row_sums(E), row_sums(Ev), radius])
    lo, hi = np.nextafter(lo - e0, -np.inf), np.nextafter(hi + e0, np.inf)
    _value, L, H = tape_jacobian(*code, lo, hi, tape.outputs)
    mid = 0.5 * L + 0.5 * H
    rad = np.maximum(H - mid, mid - L) * (1 + 4e-16) + TINY
    EE = np.vstack([E, Ev])
    P, rest = C[tape.outputs], R[tape.outputs]
    spread = rad @ e0
    size = np.abs(mid) @ e0
    reserve = 2.0**-48 * (np.abs(P).sum(1) + size)  # for a checker with other roundings, where everything else is rounding
    box = ((rest + spread) * SLACK + (len(mid[0]) + 6) * U * size + reserve) * (1 + 1e-12) + TINY
    G = np.hstack([mid[:, : n + nu] @ EE, mid[:, n + nu :] * radius, np.diag(box)])
    if not (np.isfinite(P).all() and np.isfinite(G).all()):
        raise ReachError(
            "the update is undefined or unbounded on the set",
            where="DiscreteSystem.updates",
            hint="a division by zero, a logarithm or a root of a negative number, or a set that grew too large",
        )
    return Update(state, Ev, mid, rad, box, PolynomialZonotope(r, P, G))
