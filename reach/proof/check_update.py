"""Updates of discrete plants again: f on the stored set, its polynomial part by Taylor arithmetic, the rest by the Jacobian on the box that contains both arguments."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from certify.core.interval import Interval
from certify.core.rounding import TINY, U, gamma, up

from . import fields
from .check_flow import End, at_most, disturbance_box, held_spread, jacobian, row_sums, upper_product
from .content import StepData
from .monomials import embedding, largest, monomials, ranges, widen
from .plant import Taylor, walk_all
from .taylor import Model


def check_updates(plant: Any, variables: int, steps: Sequence[StepData], places: Sequence[str]) -> list[End]:
    """The sets after every update, with fresh boxes that are at most the stored ones. All steps of one order.

    f(x, v, w) for x = p + E eps, v = p_v + (E_v eps + box), w = wc + rw: f(p, p_v, wc) is enclosed by a Taylor model; the rest is J d with J in the Jacobian's hull
    on the box around all arguments and d the deviations (mean value theorem). The stored J0 keeps the symbols, |J - J0| times the deviations' sizes goes to the box.
    Where the stored polynomials' order does not show a box, higher orders are tried; each bounds the same image, so the smaller box counts.
    """
    n, nu = len(plant.states), len(plant.inputs)
    _, radius = disturbance_box(plant)
    spread = np.array([np.concatenate([row_sums(s.generators), held_spread(s), radius]) for s in steps])
    slope = jacobian(plant, _arguments(plant, variables, steps, spread), "update")
    image = _images(plant, variables, steps[0].order, steps)
    ends = []
    for i, (step, where) in enumerate(zip(steps, places)):
        stored = step.update
        if stored is None:
            raise fields.refuse("a step of a discrete plant has no update", where)
        fresh = np.flatnonzero(step.control_box > 0)
        columns = np.zeros((nu, len(fresh)))
        columns[fresh, np.arange(len(fresh))] = step.control_box[fresh]
        both = np.vstack([np.hstack([step.generators, np.zeros((n, len(fresh)))]), np.hstack([step.control_generators, columns])])
        jac = stored.jacobian
        apart = up(np.asarray(np.maximum(np.abs(slope.upper[i] - jac), np.abs(jac - slope.lower[i])) * (1 + 4 * U)))
        linear = upper_product(apart, spread[i]) + gamma(n + nu + len(radius) + 2) * upper_product(np.abs(jac), spread[i])
        box = (image[i] + linear) * (1 + 2.0**-48) + TINY
        for wider in (1, 2):
            if (box <= stored.fresh).all():
                break
            box = np.fmin(box, (_images(plant, variables, step.order + wider, [step])[0] + linear) * (1 + 2.0**-48) + TINY)
        at_most(box, stored.fresh, where, "fresh box", plant.states)
        generators = np.hstack([jac[:, : n + nu] @ both, jac[:, n + nu :] * radius])
        ends.append(End(stored.coefficients, generators, box))
    return ends


def _images(plant: Any, variables: int, wider: int, steps: Sequence[StepData]) -> np.ndarray:
    """(steps, n) bounds of |f(p, p_v, wc) - the stored polynomials|, computed with polynomials of order `wider`."""
    t = monomials(variables, wider)
    place = embedding(variables, steps[0].order, wider, False)
    count, n = len(steps), len(plant.states)
    middle, _ = disturbance_box(plant)
    symbols = {name: Model(t, widen(np.array([s.coefficients[i] for s in steps]), place, t.size), np.zeros(count)) for i, name in enumerate(plant.states)}
    symbols |= {name: Model(t, widen(np.array([s.control[i] for s in steps]), place, t.size), np.zeros(count)) for i, name in enumerate(plant.inputs)}
    symbols |= {name: Model.constant(t, (value, 0.0), count) for name, value in zip(plant.disturbances, middle.tolist())}
    values = walk_all(plant.expressions, Taylor(t, count), symbols, lambda i: f"update of {plant.states[i]}")
    out = np.zeros((count, n))
    for i, value in enumerate(values):
        gap = value.c.copy()
        gap[place] -= np.array([s.update.coefficients[i] for s in steps if s.update]).T
        out[:, i] = (largest(t, gap) * (1 + 2 * U) + value.r) * t.grow
    return out


def _arguments(plant: Any, variables: int, steps: Sequence[StepData], spread: np.ndarray) -> Interval:
    """(B, N) boxes around states, controls and disturbances."""
    t = monomials(variables, steps[0].order)
    rows = [ranges(t, np.vstack([s.coefficients, s.control]).T) for s in steps]
    k = spread.shape[1] - len(plant.disturbances)
    lower = np.array([np.nextafter(low - spread[i, :k], -math.inf) for i, (low, _) in enumerate(rows)])
    upper = np.array([np.nextafter(high + spread[i, :k], math.inf) for i, (_, high) in enumerate(rows)])
    count = len(steps)
    return Interval(np.hstack([lower, np.tile(plant.disturbance_lower, (count, 1))]), np.hstack([upper, np.tile(plant.disturbance_upper, (count, 1))]))
