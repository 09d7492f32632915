"""Switching controllers: every mode that may win somewhere is a branch, ties included; no motion leaves the union."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies.loops import linear, network

import reach
import reach.branching as branching
from certify.core.errors import InputError
from reach.controllers.model import ControlModel
from reach.controllers.switching import candidates
from reach.sets.polyzonotope import PolynomialZonotope

PLANT = reach.DiscreteSystem(["x", "y"], ["u"], ["x + 0.5*y", "0.9*y + u"])


def scores(rows) -> ControlModel:
    """Constant scores."""
    rows = np.asarray(rows, float)
    return ControlModel(rows[:, None], np.zeros((len(rows), 0)), np.zeros(len(rows)))


def point() -> PolynomialZonotope:
    return PolynomialZonotope.from_box([0.0], [0.0], 2)


def test_a_tie_is_inside_every_branch():
    assert candidates(scores([1.0, 1.0, 0.5]), point()) == [0, 1]
    assert candidates(scores([1.0, np.nextafter(1.0, 2), 0.0]), point()) in ([0, 1], [1])


def test_differences_decide_where_ranges_overlap():
    """Scores x and x - 1 on x in [-5, 5]: the ranges overlap, the second never wins."""
    state = PolynomialZonotope.from_box([-5.0], [5.0], 2)
    P = np.vstack([state.coefficients, state.coefficients])
    P[1, 0] -= 1
    model = ControlModel(P, np.zeros((2, 0)), np.zeros(2))
    assert candidates(model, state) == [0]
    assert candidates(ControlModel(P, np.zeros((2, 0)), np.array([0.6, 0.6])), state) == [0, 1]


def loop_of(seed: int, choices: int = 1) -> reach.ClosedLoop:
    nets = {mode: network([2, 6, 3], "relu", seed + i, gain=2.0) for i, mode in enumerate("abc")}
    values = {"a": [0.1, -0.05], "b": [0.0, 0.02], "c": [-0.1, 0.2]}
    rule = reach.Switching(nets, "a", lambda previous, new, box: [[v] for v in values[new][:choices]])
    return reach.ClosedLoop(PLANT, rule, 1.0)


def motions(loop, box, steps, seed, count=200):
    """Simulated motions with random choices: (count, steps + 1, 2) and the modes."""
    rng = np.random.default_rng(seed)
    rule = loop.controller
    x = rng.uniform(box.lower, box.upper, (count, 2))
    mode = [rule.initial] * count
    out, modes = [x], [mode]
    for _ in range(steps):
        new, u = [], np.zeros((count, 1))
        for i in range(count):
            best = rule.modes[int(np.argmax(rule.scores(mode[i], x[i : i + 1])[0]))]
            options = rule.admissible(mode[i], best, box)
            u[i] = options[rng.integers(len(options))]
            new.append(best)
        x, mode = loop.plant.evaluate(x, u, np.zeros((count, 0))), new
        out.append(x)
        modes.append(mode)
    return np.stack(out, 1), modes


@given(st.integers(0, 1000), st.integers(1, 2))
def test_no_motion_leaves_the_branches(seed, choices):
    loop, box = loop_of(seed, choices), reach.Box([-0.5, -0.5], [0.5, 0.5])
    pipe = reach.solve(loop, box, 4.0)
    x, modes = motions(loop, box, 4, seed, count=60)
    for k in range(5):
        here = pipe.at(k).box()
        assert (x[:, k] >= here.lower - 1e-9).all() and (x[:, k] <= here.upper + 1e-9).all()
        assert set(modes[k]) <= pipe.modes(k) and (pipe.box().upper >= here.lower).all()


def test_too_many_branches_are_merged_and_never_dropped(monkeypatch):
    monkeypatch.setattr(branching, "LARGEST", 4)
    loop, box = loop_of(3, 2), reach.Box([-0.5, -0.5], [0.5, 0.5])
    pipe = reach.solve(loop, box, 4.0)
    assert all(len(level) <= 4 for level in pipe.levels)
    x, modes = motions(loop, box, 4, 3, count=60)
    for k in range(5):
        here = pipe.at(k).box()
        assert (x[:, k] >= here.lower - 1e-9).all() and (x[:, k] <= here.upper + 1e-9).all() and set(modes[k]) <= pipe.modes(k)


def test_a_continuous_plant_keeps_the_tubes_of_all_branches():
    plant = reach.ContinuousSystem(["x"], ["u"], ["u"])
    nets = {"up": linear([[1.0], [-1.0]]), "down": linear([[1.0], [-1.0]])}
    rule = reach.Switching(nets, "up", lambda previous, new, box: [[1.0 if new == "up" else -1.0]])
    pipe = reach.solve(reach.ClosedLoop(plant, rule, 0.5), reach.Box([-0.1], [0.1]), 1.0)
    assert pipe.modes(1) == {"up", "down"}
    box = pipe.tube(1).box()
    assert box.lower[0] <= -0.6 and box.upper[0] >= 0.6
    assert not pipe.at(1).box().contains([0.7])


def test_simulating_without_a_mode_is_refused():
    with pytest.raises(InputError, match="without its mode"):
        reach.simulate(loop_of(0), [[0.0, 0.0]], 1.0)


def test_bad_rules_are_refused_by_name():
    with pytest.raises(InputError, match="no networks"):
        reach.Switching({}, "a", lambda *_: [])
    with pytest.raises(InputError, match="initial mode"):
        reach.Switching({"a": linear([[1.0]])}, "b", lambda *_: [])
    for rows in ([], [[1.0, 2.0]], [[float("nan")]]):
        rule = reach.Switching({"a": linear([[1.0, 0.0]])}, "a", lambda previous, new, box, rows=rows: rows)
        with pytest.raises(InputError, match="usable control"):
            reach.solve(reach.ClosedLoop(PLANT, rule, 1.0), reach.Box([0.0, 0.0], [0.0, 0.0]), 1.0)
    rule = reach.Switching({"a": linear([[0.0, 0.0], [1.0, 0.0]], [0.0, 5.0])}, "a", lambda *_: [[0.0]], modes=["a", "b"])
    with pytest.raises(InputError, match="no network"):
        reach.solve(reach.ClosedLoop(PLANT, rule, 1.0), reach.Box([0.0, 0.0], [0.0, 0.0]), 2.0)


@pytest.mark.parametrize(("worst", "hdot0", "proved"), [(False, -19.5, True), (False, -22.5, True), (True, -19.5, True), (False, -25.5, False), (False, -28.5, False)])
def test_the_vertical_collision_avoidance_benchmark(worst, hdot0, proved, data_folder):
    from benchmarks.reach_set import load, switching_of

    folder = data_folder / "controllers"
    loop, box = switching_of(load(folder)["vcas"], worst, hdot0, folder)
    pipe = reach.solve(loop, box, 10.0)
    assert all(pipe.at(k).box().upper[0] < -100 for k in range(11)) == proved
