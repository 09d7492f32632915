"""Theorems B and C again, and the set at the end of every piece: deviations from the polynomial motion, the transition of generators, disturbances, fresh boxes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from certify.core.interval import Interval
from certify.core.rounding import TINY, U, gamma, up

from . import fields
from .check_motion import LENGTH
from .content import PieceData, StepData
from .monomials import Monomials, monomials, norm, ranges
from .plant import Forward, walk_all
from .transition import Transition, transition


@dataclass(frozen=True, eq=False)
class End:
    """The set {p(s) + G eps + box}: what a control step leads to. coefficients (n, M), generators (n, m), box (n,)."""

    coefficients: np.ndarray
    generators: np.ndarray
    box: np.ndarray


def row_sums(matrix: np.ndarray) -> np.ndarray:
    """(n,) upper ends of the rows' absolute sums."""
    m = matrix.shape[1]
    return up(np.asarray(np.abs(matrix).sum(1) * (1 + 4 * gamma(m + 4)))) if m else np.zeros(len(matrix))


def disturbance_box(plant: Any) -> tuple[np.ndarray, np.ndarray]:
    """(middle, radius) with every admissible value within the radius."""
    lower, upper = plant.disturbance_lower, plant.disturbance_upper
    middle = 0.5 * lower + 0.5 * upper
    return middle, np.where(lower == upper, 0.0, up(np.asarray(np.maximum(upper - middle, middle - lower))))


@dataclass(frozen=True, eq=False)
class Linear:
    """What holds of the linear part of one piece: h times the Jacobian in `a` +- `r` (n, N), transition and majorant (N, N), N = n + nu + nw."""

    a: np.ndarray
    r: np.ndarray
    middle: np.ndarray
    radius: np.ndarray
    majorant: np.ndarray


def held_spread(step: StepData) -> np.ndarray:
    """(nu,) |E_v| 1 + box: how far a held control is from its polynomial."""
    return up(np.asarray(row_sums(step.control_generators) + step.control_box))


def linear_parts(plant: Any, variables: int, steps: Sequence[StepData], pieces: Sequence[PieceData]) -> list[Linear]:
    """`Linear` of every piece; steps[i] is the control step of pieces[i]. All of one order.

    The Jacobian is taken on (range P +- I +- V) x (range p_v +- |E_v| 1 +- box) x W, which contains every segment between a motion and its polynomial one as long as
    the deviation stays below V.
    """
    space, time = monomials(variables, steps[0].order), monomials(variables + 1, steps[0].order, True)
    rows = [_box(time, p.motion, up(np.asarray(p.picard + p.deviation))) for p in pieces]
    held = [_box(space, s.control, held_spread(s)) for s in steps]
    count = len(pieces)
    lower = np.hstack([np.array([b.lower for b in rows]), np.array([b.lower for b in held]).reshape(count, -1), np.tile(plant.disturbance_lower, (count, 1))])
    upper = np.hstack([np.array([b.upper for b in rows]), np.array([b.upper for b in held]).reshape(count, -1), np.tile(plant.disturbance_upper, (count, 1))])
    slope = jacobian(plant, Interval(lower, upper), "rate")
    h = np.array([p.length for p in pieces])
    scaled = slope * Interval(h * (1 - 1.5 * LENGTH), h * (1 + 1.5 * LENGTH)).reshape(-1, 1, 1)  # half as much again for the roundings of the ends
    a = scaled.midpoint
    r = np.where(scaled.lower == scaled.upper, 0.0, up(np.asarray(np.maximum(scaled.upper - a, a - scaled.lower))))
    n, full = len(plant.states), slope.shape[2]
    wide = [np.zeros((count, full, full)) for _ in range(2)]
    wide[0][:, :n], wide[1][:, :n] = a, r
    found: Transition = transition(*wide)
    return [Linear(a[i], r[i], found.middle[i], found.radius[i], found.majorant[i]) for i in range(count)]


def jacobian(plant: Any, box: Interval, what: str) -> Interval:
    """(B, n, N) enclosures of all first derivatives on the boxes (B, N)."""
    forward = Forward(len(box), box.shape[1])
    symbols = forward.symbols([*plant.states, *plant.inputs, *plant.disturbances], box)
    rows = [x.slope for x in walk_all(plant.expressions, forward, symbols, lambda i: f"{what} of {plant.states[i]}")]
    return Interval(np.stack([x.lower for x in rows], 1), np.stack([x.upper for x in rows], 1))


def _box(t: Monomials, rows: np.ndarray, radius: np.ndarray) -> Interval:
    lower, upper = ranges(t, rows.T)
    return Interval(np.nextafter(lower - radius, -math.inf), np.nextafter(upper + radius, math.inf))


def flow_step(plant: Any, variables: int, step: StepData, remainders: np.ndarray, linear: Sequence[Linear], where: str) -> list[End]:
    """All pieces of a control step in order: every bound and fresh box proved, the sets at their ends returned.

    Args:
        remainders: (pieces, n) the remainders of `check_motions`.
    Raises:
        CertificateError: the first stored number that is too small.
    """
    t = monomials(variables + 1, step.order, True)
    space = monomials(variables, step.order)
    at_end = space.where(t.exponents[:, :-1])
    fresh = np.flatnonzero(step.control_box > 0)
    columns = np.zeros((len(plant.inputs), len(fresh)))
    columns[fresh, np.arange(len(fresh))] = step.control_box[fresh]
    held = np.hstack([step.control_generators, columns])
    generators = np.hstack([step.generators, np.zeros((len(plant.states), len(fresh)))])
    coefficients, extra = step.coefficients, np.zeros(len(plant.states))
    _, rw = disturbance_box(plant)
    box, ends = extra, []
    for j, (piece, lin) in enumerate(zip(step.pieces, linear)):
        place = f"{where}, piece {j + 1}"
        begin = piece.motion[:, t.exponents[:, -1] == 0]
        extra = _distance(coefficients, begin)
        if j == 0:
            at_most(extra, np.zeros(len(extra)), place, "starting polynomial", plant.states)
        else:
            at_most(box + extra, step.pieces[j - 1].fresh, place, "fresh box of the piece before", plant.states)
        e0 = np.concatenate([row_sums(generators), row_sums(held), rw])
        need = upper_product(lin.majorant[: len(plant.states)], e0)
        at_most(np.minimum(need, _along(lin, generators, held, e0)), piece.bound, place, "bound of the deviation", plant.states)
        if not (need < piece.deviation).all():
            i = int(np.argmin(need < piece.deviation))
            texts = f"stored {float(piece.deviation[i])!r}", f"recomputed {float(need[i])!r}, below it"
            raise fields.refuse("a deviation is not smaller than the tube that it was bounded on", f"{place}, {plant.states[i]}", *texts)
        coefficients = np.zeros(step.coefficients.shape)
        np.add.at(coefficients.T, at_end, piece.motion.T)
        moved, box = _moved(plant, piece, lin, generators, held, e0, remainders[j])
        box = up(np.asarray(box + gamma(variables + 2 + step.order) * norm(t, piece.motion.T)))
        at_most(box, piece.fresh, place, "fresh box", plant.states)
        ends.append(End(coefficients, np.hstack([moved, piece.disturbance]), box))
        generators = np.hstack([moved, piece.disturbance, np.diag(piece.fresh)])
        held = np.hstack([held, np.zeros((len(held), generators.shape[1] - held.shape[1]))])
    return ends


def _along(lin: Linear, generators: np.ndarray, held: np.ndarray, e0: np.ndarray) -> np.ndarray:
    """(n,) bounds of the deviation at all times of the piece that see the symbols: the larger of |E| 1 and |(I + A)(E; E_v)| 1 + |B| rw, plus what is left.

    With hA(t) in a +- r, d(t) = d0 + tau (a (d0; e_v) + b wbar) + rest, |rest| <= r e0 + (exp(C) - I - C) e0, C = |a| + r; for fixed symbols the first part lies
    between its values at tau = 0 and 1.
    """
    n, k = len(generators), len(generators) + len(held)
    both = np.vstack([generators, held])
    ends = generators + lin.a[:, :k] @ both
    rounding = (gamma(k + 8) * 2) * (np.abs(generators) + np.abs(lin.a[:, :k]) @ np.abs(both)).sum(1) * (1 + 4 * gamma(k + generators.shape[1] + 8))
    last = row_sums(ends) + upper_product(np.abs(lin.a[:, k:]), e0[k:])
    size = np.abs(lin.a) + lin.r
    second = np.maximum(lin.majorant[:n] - np.eye(n, lin.majorant.shape[1]) - size, 0.0) + 8 * U * (1 + lin.majorant[:n])
    return up(np.asarray((np.maximum(row_sums(generators), last) + rounding + upper_product(lin.r + second, e0)) * (1 + 2.0**-48) + TINY))


def _moved(plant: Any, piece: PieceData, lin: Linear, generators: np.ndarray, held: np.ndarray, e0: np.ndarray, remainder: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(generators after the stored transition, radius of everything else at the end of the piece but the polynomial's own rounding).

    x(h) = P(s, 1) + Phi (E; E_v) eps + int Phi B_w e_w + remainder. The true Phi is within |middle - stored| + radius of the stored one. The disturbance's mean over the
    piece goes along the stored columns, B0 diag(rw); what varies around it, and B0's own uncertainty, is at most S rw, S = B_r + R (|B0| + B_r), R >= |Phi - I|.
    """
    n, k = len(plant.states), len(plant.states) + len(plant.inputs)
    stored = piece.transition
    both = np.vstack([generators, held])
    moved = stored @ both
    apart = (np.abs(lin.middle[:n, :k] - stored) * (1 + 4 * U) + lin.radius[:n, :k]) * (1 + 4 * U)
    box = remainder + upper_product(apart, e0[:k]) + gamma(k + 4) * upper_product(np.abs(stored), e0[:k])
    b0, br = lin.a[:, k:], lin.r[:, k:]
    if b0.shape[1]:
        # R: off the diagonal the majorant, on it the majorant less 1 (rounded up)
        gap = np.maximum(lin.majorant[:n, :n] - np.eye(n), 0.0) + 4 * U * lin.majorant[:n, :n]
        s = br + (gap @ (np.abs(b0) + br)) * (1 + 4 * gamma(n + 8))
        columns = b0 * e0[k:]
        away = np.abs(columns - piece.disturbance) + 4 * U * (np.abs(columns) + np.abs(piece.disturbance))
        box = box + (upper_product(s, e0[k:]) + away.sum(1)) * (1 + 4 * gamma(b0.shape[1] + 8))
    return moved, up(np.asarray(box * (1 + 2.0**-48) + TINY))


def upper_product(matrix: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """Upper ends of a nonnegative product."""
    n = matrix.shape[1]
    return (matrix @ vector) * (1 + 4 * gamma(n + 4)) + TINY


def _distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(n,) upper ends of |a - b|_1 by rows, exactly 0 where they are equal."""
    return np.abs(a - b).sum(1) * (1 + 4 * gamma(a.shape[1] + 8))


def at_most(own: np.ndarray, stored: np.ndarray, where: str, what: str, names: Sequence[str]) -> None:
    good = own <= stored
    if not good.all():
        i = int(np.argmin(good))
        texts = f"stored {float(stored[i])!r}", f"recomputed {float(own[i])!r}, at most the stored one"
        raise fields.refuse(f"a stored {what} is smaller than what the checker can prove", f"{where}, {names[i]}", *texts)
