"""Simulated motions against closed forms; signals stay inside their intervals; runaways become NaN."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from certify.core.errors import InputError
from reach.dynamics.system import ContinuousSystem, DiscreteSystem
from reach.simulation import simulate, simulate_dense


class Law:
    """A controller of nothing but a function."""

    def __init__(self, law):
        self.law = law

    def evaluate(self, states):
        return self.law(states)


class Loop:
    """What `simulate` reads of a closed loop."""

    def __init__(self, plant, law, period):
        self.plant, self.period, self.controller = plant, period, Law(law)

    def steps(self, horizon):
        return round(horizon / self.period)


def nothing(x):
    return np.zeros((len(x), 0))


OSCILLATOR = Loop(ContinuousSystem(["x", "v"], [], ["v", "-x"]), nothing, 0.7)
DRIVEN = Loop(ContinuousSystem(["x", "v"], [], ["v", "w - x"], {"w": (-1, 1)}), nothing, 2 * math.pi)


def test_the_oscillator_turns():
    start = np.random.default_rng(0).normal(size=(50, 2))
    got = simulate_dense(OSCILLATOR, start, 7.0, 3)
    assert got.shape == (50, 10, 4, 2)
    for k in range(10):
        for j in range(4):
            t = (k + j / 3) * 0.7
            turn = np.array([[math.cos(t), math.sin(t)], [-math.sin(t), math.cos(t)]])
            assert np.abs(got[:, k, j] - start @ turn.T).max() < 1e-8
    assert np.array_equal(got[:, 1:, 0], got[:, :-1, -1])
    sampled = simulate(OSCILLATOR, start, 7.0)
    assert sampled.shape == (50, 11, 2) and np.array_equal(sampled[:, 0], start) and np.abs(sampled[:, 1:] - got[:, :, -1]).max() < 1e-9


def test_the_control_is_held():
    """x' = u, u = -x(k T): x((k + 1) T) = (1 - T) x(k T), linear in between."""
    loop = Loop(ContinuousSystem(["x"], ["u"], ["u"]), lambda x: -x, 0.5)
    got = simulate_dense(loop, [[2.0], [-1.0]], 2.0, 4)
    assert np.abs(got[0, :, :, 0] - 2.0 * 0.5 ** np.arange(4)[:, None] * (1 - np.linspace(0, 0.5, 5))).max() < 1e-12


def test_a_resonant_signal_reaches_four():
    """methods/reach.md 5.4: from rest in one period of 2 pi, a switching signal reaches 4; no signal does more."""
    one = simulate(DRIVEN, [0.0, 0.0], 2 * math.pi, lambda t, n: np.full((n, 1), np.sign(np.sin(2 * math.pi - t))))
    assert one.shape == (1, 2, 2) and abs(one[0, 1, 0] - 4) < 1e-6
    many = simulate(DRIVEN, np.zeros((200, 2)), 2 * math.pi)
    assert 0.5 < np.abs(many[:, 1, 0]).max() <= 4 + 1e-9


def test_arrays_of_disturbances():
    loop = Loop(ContinuousSystem(["x"], [], ["w"], {"w": (-2, 2)}), nothing, 0.5)
    start = np.zeros((3, 1))
    assert np.allclose(simulate(loop, start, 1.0, [1.0])[:, :, 0], [[0, 0.5, 1.0]] * 3)
    assert np.allclose(simulate(loop, start, 1.0, [[1.0], [2.0], [-2.0]])[:, 2, 0], [1, 2, -2])
    assert np.allclose(simulate(loop, start, 1.0, np.array([[[1.0], [-1.0]]] * 3))[:, :, 0], [[0, 0.5, 0]] * 3)
    pieces = np.array([[[[1.0], [-2.0]], [[0.0], [2.0]]]] * 3)
    assert np.allclose(simulate(loop, start, 1.0, pieces)[:, :, 0], [[0, -0.25, 0.25]] * 3)
    assert np.allclose(simulate_dense(loop, start, 1.0, 3, pieces)[:, 0, :, 0], [[0, 1 / 6, 1 / 4 - 2 / 12, -0.25]] * 3)


@given(st.integers(0, 10**6), st.floats(-1, 1), st.floats(0, 2))
def test_random_signals_stay_inside_and_are_repeatable(seed, low, width):
    plant = ContinuousSystem(["x"], [], ["w"], {"w": (low, low + width)})
    loop = Loop(plant, nothing, 1.0)
    a = simulate(loop, np.zeros((20, 1)), 3.0, seed=seed)
    steps = np.diff(a[:, :, 0], axis=1)
    assert (steps >= plant.disturbance_lower - 1e-12).all() and (steps <= plant.disturbance_upper + 1e-12).all()
    assert np.array_equal(a, simulate(loop, np.zeros((20, 1)), 3.0, seed=seed))
    if width > 0.1:
        assert not np.array_equal(a, simulate(loop, np.zeros((20, 1)), 3.0, seed=seed + 1))


def test_signals_do_not_depend_on_the_chunks(monkeypatch):
    import reach.simulation as module

    start = np.random.default_rng(1).normal(size=(30, 2))
    whole = simulate(DRIVEN, start, 4 * math.pi, seed=5)
    signal = lambda t, n: np.linspace(-1, 1, n)[:, None] * np.cos(t)  # noqa: E731
    other = simulate(DRIVEN, start, 4 * math.pi, signal)
    monkeypatch.setattr(module, "_CHUNK", 7)
    assert np.abs(simulate(DRIVEN, start, 4 * math.pi, seed=5) - whole).max() < 1e-8
    assert np.abs(simulate(DRIVEN, start, 4 * math.pi, signal) - other).max() < 1e-8


def test_a_discrete_plant_is_iterated():
    loop = Loop(DiscreteSystem(["h", "d"], ["a"], ["h - d - 0.5*a + w", "d + a"], {"w": (-1, 1)}), lambda x: x[:, 1:] * 0 + 2.0, 1.0)
    got = simulate(loop, [10.0, 1.0], 3.0, [0.0])
    assert got[0].tolist() == [[10, 1], [8, 3], [4, 5], [-2, 7]]
    assert simulate_dense(loop, [10.0, 1.0], 3.0, 7).shape == (1, 3, 2, 2)
    fresh = simulate(loop, np.zeros((4, 2)), 3.0)
    assert len(np.unique(np.diff(fresh[:, :, 0] + np.array([0, 1, 4, 9]), axis=1).round(9))) > 6
    moved = simulate(loop, np.zeros((4, 2)), 3.0, lambda t, n: np.full((n, 1), t / 2))
    assert np.allclose(np.diff(moved[:, :, 0], axis=1), [[-1, -3 + 0.5, -5 + 1]] * 4)


def finite_law(x):
    assert np.isfinite(x).all(), "a controller is never asked about a motion that is gone"
    return 0 * x


def test_a_runaway_is_nan_from_there_on_and_quickly():
    loop = Loop(ContinuousSystem(["x"], ["u"], ["x**2 + u"]), finite_law, 0.5)
    began = time.process_time()
    got = simulate(loop, np.concatenate([[[0.1], [-1.0]], np.linspace(1, 2, 400)[:, None]]), 2.0)
    assert time.process_time() - began < 10
    assert np.allclose(got[0, :, 0], 0.1 / (1 - 0.1 * np.linspace(0, 2, 5)), rtol=1e-8) and np.isfinite(got[1]).all()
    for row, x0 in zip(got[2:, :, 0], np.linspace(1, 2, 400)):
        for k in range(1, 5):
            left = 1 - x0 * k * 0.5
            assert np.isnan(row[k]) if left < -1e-3 else left < 1e-3 or abs(row[k] * left / x0 - 1) < 1e-5
    outside = simulate(Loop(ContinuousSystem(["x"], [], ["-1/sqrt(x)"]), nothing, 1.0), [[0.5], [4.0]], 3.0)
    assert np.isnan(outside[0, 1:]).all() and np.isfinite(outside[1, :2]).all()


def test_fast_and_slow_parts_are_followed():
    loop = Loop(ContinuousSystem(["x", "y"], [], ["-300*(x - cos(y))", "1"]), nothing, 0.5)
    got = simulate(loop, [0.0, 0.0], 2.0)
    t = np.linspace(0, 2, 5)
    exact = 300 / (300**2 + 1) * (300 * np.cos(t) + np.sin(t)) - 300**2 / (300**2 + 1) * np.exp(-300 * t)
    assert np.abs(got[0, :, 0] - exact).max() < 1e-7


def test_ten_thousand_motions_take_seconds():
    loop = Loop(ContinuousSystem(["x0", "x1"], ["u"], ["x1", "u*x1**2 - x0"]), lambda x: -np.tanh(x[:, :1] + x[:, 1:]), 0.2)
    start = np.random.default_rng(0).uniform([0.8, 0.5], [0.9, 0.6], (10_000, 2))
    began = time.process_time()
    got = simulate(loop, start, 7.0)
    assert got.shape == (10_000, 36, 2) and np.isfinite(got).all() and time.process_time() - began < 10


@pytest.mark.parametrize(
    ("states", "arguments", "words"),
    [
        ([1.0], {}, ("(n, 2)", "x, v")),
        ([[1.0, 2.0, 3.0]], {}, ("one number per state",)),
        (np.zeros((2, 2, 2)), {}, ("one number per state",)),
        (3.0, {}, ("one number per state",)),
        (["a", "b"], {}, ("numbers",)),
        ([[0.0, 1.0], [math.nan, 0.0]], {}, ("row 1", "not finite")),
        ([0.0, math.inf], {}, ("not finite",)),
        ([0.0, 0.0], {"disturbance": [2.0]}, ("outside", "disturbance w", "[-1.0, 1.0]")),
        ([0.0, 0.0], {"disturbance": [math.nan]}, ("outside",)),
        ([0.0, 0.0], {"disturbance": np.zeros((3, 1))}, ("shape",)),
        ([0.0, 0.0], {"disturbance": np.zeros((1, 2, 5, 2))}, ("shape",)),
        ([0.0, 0.0], {"disturbance": "sin"}, ("function or an array",)),
        ([0.0, 0.0], {"disturbance": lambda t, n: np.full((n, 1), 1.5)}, ("outside",)),
        ([0.0, 0.0], {"disturbance": lambda t, n: np.zeros(n)}, ("one row per motion",)),
    ],
)
def test_bad_input_is_refused(states, arguments, words):
    with pytest.raises(InputError) as caught:
        simulate(DRIVEN, states, 2 * math.pi, **arguments)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_more_bad_input():
    with pytest.raises(InputError, match="no disturbance"):
        simulate(OSCILLATOR, [0.0, 0.0], 0.7, [0.0])
    for times in (0, 1.5, -1):
        with pytest.raises(InputError, match="times_per_period"):
            simulate_dense(OSCILLATOR, [0.0, 0.0], 0.7, times)
    assert simulate(OSCILLATOR, np.zeros((0, 2)), 1.4).shape == (0, 3, 2)
    assert simulate(OSCILLATOR, [1.0, 0.0], 0.0).shape == (1, 1, 2)
