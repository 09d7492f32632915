"""One period of the plant against closed forms: every motion is in the tube at all times and in the set at the end."""

from __future__ import annotations

import math

import numpy as np
import pytest

from reach.controllers.model import ControlModel
from reach.dynamics.system import ContinuousSystem
from reach.flowpipe import Tube
from reach.integrators import continuous
from reach.sets.polyzonotope import PolynomialZonotope

OSCILLATOR = ContinuousSystem(["x", "y"], [], ["y", "-x"])


def no_control(state: PolynomialZonotope) -> ControlModel:
    return ControlModel(np.zeros((0, state.ring.size)), np.zeros((0, state.generators.shape[1])), np.zeros(0))


def rotation(points: np.ndarray, t: float) -> np.ndarray:
    c, s = math.cos(t), math.sin(t)
    return points @ np.array([[c, s], [-s, c]]).T


def tube_of(run) -> Tube:
    return Tube(tuple(p.tube(a, b) for p, a, b in zip(run.pieces, run.times, run.times[1:])))


@pytest.mark.parametrize("order", range(1, 9))
@pytest.mark.parametrize("h", [0.01, 0.05, 0.1, 0.2, 0.3, 0.5])
def test_the_oscillator_from_a_point_and_from_a_box(order, h):
    for lower, upper in (([1.0, 0.25], [1.0, 0.25]), ([0.9, -0.1], [1.1, 0.1])):
        state = PolynomialZonotope.from_box(lower, upper, order)
        run = continuous.period(OSCILLATOR, state, no_control(state), h, 1, 0.0)
        if run.failed:
            assert order == 1 and h > 0.1, run.failed  # an order this low may end honestly
            continue
        rng = np.random.default_rng(order)
        points = np.vstack([rng.uniform(lower, upper, (20, 2)), [lower, upper]])
        box = run.end.box()
        ends = rotation(points, h)
        slack = 4e-16  # of the reference, not of the bound
        assert (box.lower <= ends + slack).all() and (ends - slack <= box.upper).all()
        for piece in tube_of(run).pieces:
            for t in np.linspace(piece.start, piece.end, 7):
                now, inside = rotation(points, t), piece.box()
                assert (inside.lower <= now + slack).all() and (now - slack <= inside.upper).all(), (order, h, t)


@pytest.mark.parametrize(("order", "h", "widest"), [(4, 0.1, 1e-6), (6, 0.1, 1e-9), (8, 0.1, 1e-12), (8, 0.01, 1e-14)])
def test_high_orders_from_a_point_are_nearly_exact(order, h, widest):
    state = PolynomialZonotope.from_box([1.0, 0.25], [1.0, 0.25], order)
    box = continuous.period(OSCILLATOR, state, no_control(state), h, 1, 0.0).end.box()
    assert (box.upper - box.lower <= widest).all()


def test_the_end_of_a_step_keeps_the_symbols_of_its_start():
    """A linear flow of a box with generators is the image of both: boxing them would give a wider set than the rotation of the zonotope."""
    state = PolynomialZonotope.from_box([0.0, 0.0], [0.0, 0.0], 3)
    state = PolynomialZonotope(state.ring, state.coefficients, np.array([[1.0, 0.0], [0.0, 1.0]]))
    run = continuous.period(OSCILLATOR, state, no_control(state), math.pi / 2, 8, 0.0)
    box = run.end.box()
    assert (box.upper <= 1.0 + 1e-2).all() and (box.upper >= 1.0).all()


@pytest.mark.parametrize("substeps", [40, 160])
def test_a_disturbance_that_follows_the_motion_is_covered(substeps):
    """x' = y, y' = -x + w, |w| <= 1 over one period 2 pi: w(t) = sign sin(2 pi - t) reaches x = 4; one symbol for the whole period would claim 1e-5."""
    plant = ContinuousSystem(["x", "y"], [], ["y", "-x + w"], {"w": (-1, 1)})
    state = PolynomialZonotope.from_box([0.0, 0.0], [0.0, 0.0], 4)
    box = continuous.period(plant, state, no_control(state), 2 * math.pi, substeps, 0.0).end.box()
    assert box.upper[0] >= 4 and box.lower[0] <= -4
    assert box.upper[0] <= (4.7 if substeps == 40 else 4.2)


def test_a_constant_disturbance_is_covered_too():
    plant = ContinuousSystem(["x"], [], ["w"], {"w": (0.5, 1.5)})
    state = PolynomialZonotope.from_box([0.0], [0.0], 3)
    run = continuous.period(plant, state, no_control(state), 2.0, 4, 0.0)
    box = run.end.box()
    assert box.lower[0] <= 1.0 and box.upper[0] >= 3.0 and box.upper[0] - box.lower[0] <= 2.0 + 1e-9


def test_a_motion_that_escapes_in_finite_time_ends_honestly():
    plant = ContinuousSystem(["x"], [], ["x**2"])  # x(t) = 1 / (1 - t) from 1
    state = PolynomialZonotope.from_box([0.9], [1.0], 5)
    run = continuous.period(plant, state, no_control(state), 1.0, 4, 0.0, halvings=3)
    assert run.failed is not None and run.failed.time < 1.0
    times = np.array(run.times)
    for t0, t1, piece in zip(times, times[1:], tube_of(run).pieces):
        assert piece.box().upper[0] >= 1 / (1 - t1) and piece.box().lower[0] <= 0.9 / (1 - 0.9 * t0)


def test_a_held_control_is_used_with_its_symbols():
    """x' = v with v = -x(0) exactly: after one unit of time everything is at 0, and only the correlation of v with x shows it."""
    plant = ContinuousSystem(["x"], ["v"], ["v"])
    state = PolynomialZonotope.from_box([1.0], [2.0], 3)
    state = PolynomialZonotope(state.ring, state.coefficients, np.array([[0.25]]))
    control = ControlModel(-state.coefficients, -state.generators, np.zeros(1))
    box = continuous.period(plant, state, control, 1.0, 2, 0.0).end.box()
    assert box.lower[0] <= 0.0 <= box.upper[0] and box.upper[0] - box.lower[0] <= 1e-12


def test_both_readings_of_a_decimal_period_are_inside():
    """x' = 1e8 for 0.1: the float 0.1 and one tenth differ by 5.6e-10 after the product."""
    from fractions import Fraction

    plant = ContinuousSystem(["x"], [], ["100000000"])
    state = PolynomialZonotope.from_box([0.0], [0.0], 2)
    box = continuous.period(plant, state, no_control(state), 0.1, 1, 0.0).end.box()
    for t in (Fraction(1, 10), Fraction(0.1)):
        assert Fraction(float(box.lower[0])) <= t * 10**8 <= Fraction(float(box.upper[0]))
