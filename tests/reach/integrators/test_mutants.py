"""Broken integrators must be caught: each mutant drops one term of a proof, and the checks of this file, which the real kernels pass, notice.

The mutants are the kernels' own source with one line changed, run as plain Python (what they call from other files stays compiled).
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from strategies.loops import linear

import reach.integrators.continuous as continuous
import reach.integrators.deviation_kernels as deviation_kernels
import reach.integrators.flow_kernels as flow_kernels
import reach.integrators.picard_kernels as picard_kernels
from reach.controllers.model import ControlModel
from reach.dynamics.system import ContinuousSystem
from reach.sets.polyzonotope import PolynomialZonotope


def plain(module, changes=(), **given) -> dict:
    """The module's functions as plain Python, with pieces of the source replaced and names from `given` in place of its imports."""
    text = Path(module.__file__).read_text()
    for old, new in changes:
        assert text.count(old) >= 1, f"the source of {module.__name__} no longer has {old!r}: adapt the mutant"
        text = text.replace(old, new)
    space = {"__name__": module.__name__, "__package__": module.__package__}
    exec(compile(text.replace("@jit\n", ""), module.__file__, "exec"), space)
    space.update(given)
    return space


def flow_with(flow=(), picard=(), deviation=()):
    """`flow` as plain Python with mutated parts."""
    parts = {}
    if picard:
        parts["picard"] = plain(picard_kernels, picard)["picard"]
    if deviation:
        made = plain(deviation_kernels, deviation)
        parts |= {"transition": made["transition"], "matmul": made["matmul"]}
    space = plain(flow_kernels, flow)
    space.update(parts)
    return space["flow"]


def nothing(state: PolynomialZonotope) -> ControlModel:
    return ControlModel(np.zeros((0, state.ring.size)), np.zeros((0, state.generators.shape[1])), np.zeros(0))


def inside(run, truth, start, length, slack=1e-13) -> bool:
    """Whether truth(points, t) is in the set at the end and in every tube piece on the way."""
    if run.failed is not None:
        return True
    ends, box = truth(start, length), run.end.box(1)
    good = bool((box.lower - slack <= ends).all() and (ends <= box.upper + slack).all())
    for piece, t0, t1 in zip(run.pieces, run.times, run.times[1:]):
        tube = piece.tube(t0, t1).box(1)
        for t in np.linspace(t0, t1, 5):
            now = truth(start, t)
            good = good and bool((tube.lower - slack <= now).all() and (now <= tube.upper + slack).all())
    return good


def rotated(points, t):
    c, s = math.cos(t), math.sin(t)
    return points @ np.array([[c, s], [-s, c]]).T


def corners(lower, upper):
    grid = np.array(np.meshgrid(*[[a, b] for a, b in zip(lower, upper)])).reshape(len(lower), -1).T
    return grid.astype(float)


def oscillator(order: int, substeps: int, length: float, generators: bool):
    """x' = y, y' = -x from a box, carried by the polynomial or by generators."""
    plant = ContinuousSystem(["x", "y"], [], ["y", "-x"])
    state = PolynomialZonotope.from_box([0.9, -0.1], [1.1, 0.1], order)
    if generators:
        state = PolynomialZonotope.from_box([0.9, -0.1], [1.1, 0.1], order, np.array([], int))
    return inside(continuous.period(plant, state, nothing(state), length, substeps, 0.0), rotated, corners([0.9, -0.1], [1.1, 0.1]), length)


def growth(generators: bool):
    """x' = x^2: x(t) = x0 / (1 - x0 t)."""
    plant = ContinuousSystem(["x"], [], ["x**2"])
    state = PolynomialZonotope.from_box([0.5], [1.0], 3, np.array([], int) if generators else None)
    truth = lambda x, t: x / (1 - x * t)  # noqa: E731
    return inside(continuous.period(plant, state, nothing(state), 0.5, 2, 0.0), truth, np.array([[0.5], [0.75], [1.0]]), 0.5)


def exponential():
    """x' = x from generators: what grows is the transition matrix alone."""
    plant = ContinuousSystem(["x"], [], ["x"])
    state = PolynomialZonotope.from_box([-1.0], [1.0], 3, np.array([], int))
    return inside(continuous.period(plant, state, nothing(state), 0.5, 1, 0.0), lambda x, t: x * math.exp(t), np.array([[-1.0], [1.0]]), 0.5)


def decay():
    """x' = -x from generators: the tube must still hold the beginning."""
    plant = ContinuousSystem(["x"], [], ["-x"])
    state = PolynomialZonotope.from_box([-1.0], [1.0], 3, np.array([], int))
    return inside(continuous.period(plant, state, nothing(state), 0.5, 1, 0.0), lambda x, t: x * math.exp(-t), np.array([[-1.0], [1.0]]), 0.5)


def resonance():
    """x' = y, y' = -x + w: sup over measurable |w| <= 1 of x(2 pi) is 4."""
    plant = ContinuousSystem(["x", "y"], [], ["y", "-x + w"], {"w": (-1, 1)})
    state = PolynomialZonotope.from_box([0.0, 0.0], [0.0, 0.0], 4)
    run = continuous.period(plant, state, nothing(state), 2 * math.pi, 24, 0.0)
    return run.failed is not None or bool(run.end.box(1).upper[0] >= 4 and run.end.box(1).lower[0] <= -4)


def late_push():
    """x' = w y, y' = 0, y = 1, |w| <= 1 over a step: |x(t)| <= t, reached; the tube must reach it before the end."""
    plant = ContinuousSystem(["x", "y"], [], ["w*y", "0"], {"w": (-1, 1)})
    state = PolynomialZonotope.from_box([0.0, 1.0], [0.0, 1.0], 3)
    run = continuous.period(plant, state, nothing(state), 1.0, 2, 0.0)
    tube = [p.tube(a, b).box(1) for p, a, b in zip(run.pieces, run.times, run.times[1:])]
    return run.end.box(1).upper[0] >= 1 and all(b.upper[0] >= t for b, t in zip(tube, run.times[1:]))


def held():
    """x' = v, v held at 2 +- 1 as a generator: x(1) in [1, 3]."""
    plant = ContinuousSystem(["x"], ["v"], ["v"])
    state = PolynomialZonotope.from_box([0.0], [0.0], 2)
    P = np.zeros((1, state.ring.size))
    P[0, 0] = 2
    run = continuous.period(plant, state, ControlModel(P, np.zeros((1, 0)), np.ones(1)), 1.0, 2, 0.0)
    box = run.end.box(1)
    return bool(box.lower[0] <= 1 and box.upper[0] >= 3)


def both_readings():
    """x' = 1e8 over 0.1: the two readings of the period differ by 5.6e-10 in x."""
    from fractions import Fraction

    plant = ContinuousSystem(["x"], [], ["100000000"])
    state = PolynomialZonotope.from_box([0.0], [0.0], 2)
    box = continuous.period(plant, state, nothing(state), 0.1, 1, 0.0).end.box(1)
    return all(Fraction(float(box.lower[0])) <= t * 10**8 <= Fraction(float(box.upper[0])) for t in (Fraction(1, 10), Fraction(0.1)))


def checks() -> bool:
    """Everything at once: False as soon as one enclosure is false."""
    return (
        all(oscillator(order, 1, h, g) for order in (1, 2, 3) for h in (0.1, 0.3) for g in (False, True))
        and growth(False)
        and growth(True)
        and exponential()
        and decay()
        and resonance()
        and late_push()
        and held()
        and both_readings()
    )


MUTANTS = {
    "the dropped top degree": {"picard": [("h * ry[outputs[i]] + dropped + e", "h * ry[outputs[i]] + e")]},
    "the defect of the candidate": {"picard": [("for _ in range(order):", "for _ in range(1):"), ("e += abs(start[i, j] + o[j] - X[i, j])", "e += 0.0 * abs(X[i, j])")]},
    "the remainder of f": {"picard": [("h * ry[outputs[i]] + dropped", "dropped")]},
    "the inclusion": {"picard": [("inside = inside and trial[i] <= included[i]", "inside = True")]},
    "the Picard remainder at the end": {"flow": [("remainder = (I[i] + spread", "remainder = (0.0 * I[i] + spread")]},
    "the spread of the transition": {"flow": [("(I[i] + spread + parts[2, i])", "(I[i] + parts[2, i])")]},
    "the disturbance's column": {"flow": [("ends[i, m + j] = A[i, k + j] * rw[j]", "ends[i, m + j] = 0.0")]},
    "the disturbance in the deviation": {
        "flow": [("e0 = np.concatenate((row_sum(generators), row_sum(held_generators), rw))", "e0 = np.concatenate((row_sum(generators), row_sum(held_generators), 0.0 * rw))")]
    },
    "the start of the chord": {"flow": [("max(start, end) + rest", "end + rest")]},
    "the end of the chord": {"flow": [("max(start, end) + rest", "start + rest")]},
    "what bends away from the chord": {"flow": [("max(second, 0.0)", "0.0")]},
    "the disturbance along the chord": {"flow": [("end += abs(A[i, k + j]) * rw[j]", "end += 0.0")]},
    "the held generators": {"flow": [("+ matmul(np.ascontiguousarray(mid[:n, n:k]), held_generators)", "")]},
    "the first-order term": {"deviation": [("mid[i, i] += 1.0", "mid[i, i] += 1.0 - 1e-6")]},
    "higher terms of the series": {"deviation": [("while q < TERMS", "while q < 1"), ("tail = term / (1 - nu / (q + 2)) * (1 + 1e-12) + TINY", "tail = TINY")]},
}  # fmt: skip


def test_the_real_kernels_pass_as_plain_python_too(monkeypatch):
    assert checks()
    monkeypatch.setattr(continuous, "flow", flow_with(picard=[("TRIALS = 30", "TRIALS = 30")], deviation=[("TERMS = 60", "TERMS = 60")]))
    assert checks()


@pytest.mark.parametrize("name", MUTANTS)
def test_a_dropped_term_is_caught(name, monkeypatch):
    monkeypatch.setattr(continuous, "flow", flow_with(**MUTANTS[name]))
    assert not checks(), name


def test_a_linear_loop_is_a_user_of_all_this():
    """The contract seen from outside: the loop with the identity controller still runs after the patches above."""
    import reach

    loop = reach.ClosedLoop(ContinuousSystem(["x"], ["v"], ["v"]), linear([[-1.0]]), 0.5)
    assert reach.solve(loop, reach.Box([1.0], [1.0]), 0.5).at(1).box().contains([0.5])
