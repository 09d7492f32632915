"""A black box: its contract, its hypotheses, and every way in which a function can disappoint."""

from __future__ import annotations

import numpy as np
import pytest

from certify.core.errors import InputError, UnsupportedLayerError
from reach.controllers.blackbox import BlackBox
from reach.errors import ReachError


def test_values_shapes_and_enclosures():
    box = BlackBox(lambda x: x[:, 0] - 2 * x[:, 1], 3.0).bind(("a", "b"), 1)
    assert box.dimension == 2 and box.states == ("a", "b")
    assert box.evaluate([[1.0, 1.0], [0.0, -1.0]]).tolist() == [[-1.0], [2.0]]
    low, high = box.enclose_points(np.array([[1.0, 1.0], [1e6, 0.0]]))
    assert (low < [[-1.0], [1e6]]).all() and (high > [[-1.0], [1e6]]).all()
    assert high[1, 0] - 1e6 >= 1e-6 * (1 - 1e-9) and high[0, 0] - low[0, 0] < 3e-12
    exact = BlackBox(lambda x: x, 1.0, evaluation_error=0.0).bind(("a",), 1)
    assert exact.enclose_points(np.array([[0.1]]))[0].tolist() == [[0.1]]


def test_a_function_cannot_change_the_states_it_is_shown():
    states = np.array([[1.0, 2.0]])

    def spoil(x):
        x[:] = 0
        return x[:, :1]

    BlackBox(spoil, 1.0).bind(("a", "b"), 1).evaluate(states)
    assert states.tolist() == [[1.0, 2.0]]


def test_constants_are_the_hypothesis():
    scalar = BlackBox(lambda x: x[:, :2], 2.5).bind(("a", "b", "c"), 2)
    assert scalar.column_constants(None, None).tolist() == [[2.5] * 3] * 2
    assert scalar.l2_constants(None, None).tolist() == [2.5, 2.5]
    matrix = BlackBox(lambda x: x, [[1.0, 0.0], [0.5, 2.0]]).bind(("a", "b"), 2)
    assert matrix.column_constants(None, None).tolist() == [[1.0, 0.0], [0.5, 2.0]] and matrix.l2_constants(None, None) is None
    assert "[[1.0, 0.0], [0.5, 2.0]]" in matrix.hypotheses[0] and "1e-12" in matrix.hypotheses[1]
    assert scalar.digest != matrix.digest and scalar.digest == BlackBox(lambda x: x[:, :2], 2.5).bind(("a", "b", "c"), 2).digest


@pytest.mark.parametrize("wrong", [-1.0, float("nan"), float("inf"), [1.0, 2.0], [[1.0, -1.0]], "big", None])
def test_a_wrong_constant_is_refused(wrong):
    with pytest.raises(InputError, match="Lipschitz"):
        BlackBox(lambda x: x, wrong)


@pytest.mark.parametrize("arguments", [{"f": 3, "lipschitz": 1.0}, {"f": abs, "lipschitz": 1.0, "evaluation_error": -1.0}, {"f": abs, "lipschitz": [[1.0, 2.0]], "inputs": 3}])
def test_a_wrong_argument_is_refused(arguments):
    with pytest.raises(InputError):
        BlackBox(**arguments)


def test_sizes_must_fit_the_plant():
    with pytest.raises(InputError, match="2 states"):
        BlackBox(lambda x: x, 1.0, inputs=3).bind(("a", "b"), 1)
    with pytest.raises(InputError, match="1 controls"):
        BlackBox(lambda x: x, [[1.0, 1.0], [0.0, 1.0]]).bind(("a", "b"), 1)
    with pytest.raises(InputError, match="sizes"):
        BlackBox(lambda x: x, 1.0).column_constants(None, None)
    with pytest.raises(InputError, match="another size"):
        BlackBox(lambda x: x[:, :1], 1.0).bind(("a", "b"), 1).evaluate([[1.0, 2.0, 3.0]])


def _raises(x):
    raise RuntimeError("no such table entry")


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (_raises, "no such table entry"),
        (lambda x: np.full(len(x), np.nan), "NaN"),
        (lambda x: np.full((len(x), 1), np.inf), "infinity"),
        (lambda x: x[:1, :1], "wrong shape"),
        (lambda x: 1.0, "wrong shape"),
        (lambda x: x, "wrong shape"),
        (lambda x: ["left"] * len(x), "failed"),
        (lambda x, y: x, "failed"),
    ],
)
def test_a_function_that_disappoints_is_named(f, message):
    box = BlackBox(f, 1.0, name="steering").bind(("a", "b"), 1)
    with pytest.raises(ReachError, match=message) as caught:
        box.evaluate(np.zeros((4, 2)))
    assert "steering" in str(caught.value)


def test_layers_are_refused_with_the_method_that_needs_none():
    with pytest.raises(UnsupportedLayerError, match="Bernstein"):
        BlackBox(lambda x: x, 1.0).bind(("a",), 1).program  # noqa: B018
