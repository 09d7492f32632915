"""Theorem A again: one evaluation of the plant on every stored polynomial motion and its remainder shows that the Picard operator maps the tube into itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from certify.core.rounding import TINY, U

from . import fields
from .monomials import Monomials, embedding, largest, lifting, monomials, norm, widen
from .plant import Taylor, walk_all
from .taylor import Model

LENGTH = 1e-15  # relative: what a step's true length may differ from the stored float


@dataclass(frozen=True, eq=False)
class Motions:
    """Pieces of one order: places for messages, motions P (n, M) in (s, tau), remainders I (pieces, n), lengths h, the control's polynomials (nu, M) in s."""

    places: Sequence[str]
    motion: Sequence[np.ndarray]
    remainder: np.ndarray
    h: np.ndarray
    held: Sequence[np.ndarray]

    def some(self, index: np.ndarray) -> Motions:
        """Those at the positions `index`."""
        pick = index.tolist()
        return Motions([self.places[i] for i in pick], [self.motion[i] for i in pick], self.remainder[index], self.h[index], [self.held[i] for i in pick])


def check_motions(plant: Any, variables: int, order: int, motions: Motions, middle: np.ndarray) -> np.ndarray:
    """(pieces, n): own remainders I' <= I.

    For every s the motion with constant control p_v(s) and disturbance `middle` (nw,) from P(s, 0) stays in P(s, t / h) +- I'. With y +- r an enclosure of the
    right side on P +- I: I' = h r + |P(., 0) + h J y - P| + roundings + the step length's own uncertainty, J the integral over tau. Computed in the order of the
    stored polynomials; where that does not show I' <= I, in higher orders too: each bounds the same image, so the smaller one counts.

    Raises:
        CertificateError: an inclusion does not hold, or the plant is undefined on the tube; names the piece.
    """
    found = _images(plant, variables, order, order, motions, middle)
    for wider in (order + 1, order + 2):
        open_ = np.flatnonzero(~(found <= motions.remainder).all(1))
        if not len(open_):
            return found
        found[open_] = np.fmin(found[open_], _images(plant, variables, order, wider, motions.some(open_), middle))
    bad = ~(found <= motions.remainder)
    if bad.any():
        b, i = (int(x) for x in np.argwhere(bad)[0])
        where = f"{motions.places[b]}, remainder of {plant.states[i]}"
        stored, own = float(motions.remainder[b, i]), float(found[b, i])
        raise fields.refuse("the stored remainder is not mapped into itself", where, f"stored {stored!r}", f"recomputed {own!r}, at most the stored one")
    return found


def _images(plant: Any, variables: int, order: int, wider: int, motions: Motions, middle: np.ndarray) -> np.ndarray:
    """(pieces, n) bounds of the Picard image's distance from the motion, computed with polynomials of order `wider`."""
    t = monomials(variables + 1, wider, True)
    own, place = embedding(variables + 1, order, wider, True), lifting(variables, order, wider)
    count, n = len(motions.h), len(plant.states)
    motion = [widen(np.array([p[i] for p in motions.motion]), own, t.size) for i in range(n)]
    symbols = {name: Model(t, motion[i], motions.remainder[:, i]) for i, name in enumerate(plant.states)}
    for i, name in enumerate(plant.inputs):
        symbols[name] = Model(t, widen(np.array([p[i] for p in motions.held]), place, t.size), np.zeros(count))
    for name, value in zip(plant.disturbances, middle.tolist()):
        symbols[name] = Model.constant(t, (value, 0.0), count)
    rates = walk_all(plant.expressions, Taylor(t, count), symbols, lambda i: f"rate of {plant.states[i]}")
    return np.stack([_picard(t, motion[i], rates[i], motions.h) for i in range(n)], 1)


def _picard(t: Monomials, motion: np.ndarray, rate: Model, h: np.ndarray) -> np.ndarray:
    """(B,) bounds of |P(., 0) + h J (y +- r) - P|."""
    tau = t.exponents[:, -1]
    up = t.where(t.exponents + np.eye(t.variables, dtype=np.int64)[-1])
    inside = up >= 0
    moved = rate.c / (tau + 1.0)[:, None]
    image = np.zeros(motion.shape)
    image[up[inside]] = moved[inside]
    cut = np.abs(moved[~inside]).sum(0)
    start = np.where((tau == 0)[:, None], motion, 0.0)
    gap = (start - motion) + image * h
    # per entry: the division, the product with h, and one sum (start - motion is exact: one of them is 0, or both are equal)
    rounding = U * (np.abs(gap) + 3.0 * np.abs(image * h)).sum(0)
    total = largest(t, gap) + rounding + h * (cut * (1 + 4 * U) + rate.r) + LENGTH * h * (norm(t, rate.c) + rate.r)
    return total * t.grow + TINY
