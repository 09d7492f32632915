"""Flowpipe: indexed by step and time, itself a set, honest about what it has."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from strategies.loops import linear, pendulum

import reach
from certify.core.errors import InputError


@pytest.fixture(scope="module")
def pipe():
    return reach.solve(pendulum(3), reach.Box([0.5, -0.1], [0.7, 0.1]), 1.0)


def test_sets_and_tubes_are_indexed_by_steps(pipe):
    assert len(pipe) == 5 and pipe.horizon == 1.0 and pipe.dimension == 2
    for k in range(1, 6):
        tube = pipe.tube(k)
        assert tube.start == pytest.approx(0.2 * (k - 1)) and tube.end == pytest.approx(0.2 * k)
        ends = [(p.start, p.end) for p in tube.pieces]
        assert all(a[1] == b[0] for a, b in zip(ends, ends[1:]))
        before, after, whole = pipe.at(k - 1).box(1), pipe.at(k).box(), tube.box(1)
        assert (whole.lower <= after.upper).all() and (whole.upper >= after.lower).all()
        assert (whole.lower <= before.upper).all() and (whole.upper >= before.lower).all()


@pytest.mark.parametrize("k", [-1, 6, 1.5, "1", None])
def test_steps_that_do_not_exist_are_refused(pipe, k):
    with pytest.raises(InputError, match="step"):
        pipe.at(k)
    with pytest.raises(InputError, match="step"):
        pipe.tube(k if k != -1 else 0)


def test_a_flowpipe_is_a_set_that_contains_its_samples(pipe):
    x = pipe.sample(400, seed=1)
    box = pipe.box()
    assert x.shape == (400, 2) and (x >= box.lower - 1e-12).all() and (x <= box.upper + 1e-12).all()
    for c in ([1.0, 0.0], [0.0, -1.0], [1.0, 1.0], [-0.3, 2.0]):
        assert (x @ np.array(c) <= pipe.support(c) + 1e-12).all()
        for k in (1, 5):
            assert (pipe.tube(k).sample(100) @ np.array(c) <= pipe.tube(k).support(c) + 1e-12).all()
    image = pipe.affine([[1.0, 1.0]], [2.0]).box()
    assert (x.sum(1) + 2 >= image.lower - 1e-9).all() and (x.sum(1) + 2 <= image.upper + 1e-9).all()


def test_combining_before_ranging_keeps_what_is_correlated():
    """x' = v, y' = -v: x + y is constant, and only the combined range shows it."""
    plant = reach.ContinuousSystem(["x", "y"], ["v"], ["v", "-v"])
    pipe = reach.solve(reach.ClosedLoop(plant, linear([[-1.0, 0.5]]), 0.5), reach.Box([0.0, 0.0], [1.0, 1.0]), 2.0)
    box = pipe.at(4).box()
    assert pipe.at(4).support([1.0, 1.0]) <= 2.0 + 1e-6 < box.upper.sum() + 0.5
    assert all(piece.support([1.0, 1.0]) <= 2.0 + 1e-6 for piece in pipe.tube(4).pieces)


def test_a_flowpipe_survives_pickle(pipe):
    copy = pickle.loads(pickle.dumps(pipe))
    assert (copy.at(5).coefficients == pipe.at(5).coefficients).all() and repr(copy) == repr(pipe)


def test_a_discrete_plant_has_the_sets_around_a_step_and_nothing_in_between():
    plant = reach.DiscreteSystem(["x"], ["u"], ["0.5*x + u"])
    pipe = reach.solve(reach.ClosedLoop(plant, linear([[0.0]], [1.0]), 1.0), reach.Box([0.0], [1.0]), 3.0)
    box = pipe.tube(1).box()
    assert box.lower[0] <= 0.0 and box.upper[0] >= 1.5 and len(pipe.tube(1).parts) == 2
    assert pipe.box().upper[0] >= 1.875
