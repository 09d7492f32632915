"""Radii from curvature against points where the prediction changes: dense sampling, gradient attacks, arbitrary evidence, and mutants that must be caught."""

from __future__ import annotations

import curvature_cases as cases
import numpy as np
import pytest

from certify.constants.curvature import curvature_bounds, curvature_radii
from certify.constants.curvature.dual import dual_values, quadratic_multipliers, quadratic_radii
from certify.constants.local import slopes_and_values
from certify.core.errors import InputError
from certify.core.interval import Interval

DEPTHS = [("softplus", "1"), ("softplus", "3"), ("tanh", "2"), ("gelu", "2"), ("celu", "2"), ("sin", "1"), ("sigmoid", "residual"), ("softplus", "conv")]


@pytest.mark.parametrize(("kind", "shape"), DEPTHS)
def test_no_point_within_a_radius_changes_the_prediction(kind, shape):
    net, graph, x, labels = cases.question(kind, shape, seed=len(kind))
    found = curvature_radii(graph, x, labels, cases.margins(graph, x, labels))
    assert (found.radii > 0).all() and found.points.dtype == np.float32
    reached = cases.attacked(net, x, labels, graph.input_shape)
    assert (found.radii <= reached * (1 + 1e-9)).all()
    if shape == "1" and kind == "softplus":
        assert np.median(found.radii / reached) > 0.99
    rng = np.random.default_rng(1)
    for _ in range(300):
        d = rng.normal(size=x.shape)
        d *= (found.radii * rng.random(len(x)) ** 0.2 / np.sqrt((d**2).reshape(len(x), -1).sum(1))).reshape(-1, *(1,) * (x.ndim - 1))
        assert (graph(x + d * (1 - 1e-12)).argmax(1) == labels).all()


def certificate(graph, x, labels, others, eta, y, lower):
    """The radius that evidence (eta, y) proves, one class per input."""
    values, slopes = slopes_and_values(graph, y.reshape(len(y), *graph.input_shape), y.reshape(len(y), *graph.input_shape))
    rows = np.arange(len(x))
    m = values[rows, labels] - values[rows, others]
    g = Interval(slopes.lower[rows, labels], slopes.upper[rows, labels]) - Interval(slopes.lower[rows, others], slopes.upper[rows, others])
    return m, g, dual_values(Interval.point(y) - Interval.point(x), m, g, eta, lower)


@pytest.mark.parametrize(("kind", "shape"), [("softplus", "2"), ("tanh", "2")])
def test_any_point_and_any_multiplier_are_sound(kind, shape):
    net, graph, x, labels = cases.question(kind, shape, 4)
    found, positive = cases.beyond(net, graph, x, labels, curvature_bounds(graph), 40)
    assert not found and positive > 20


def test_multipliers_out_of_range_prove_nothing():
    _, graph, x, labels = cases.question("softplus", "2", 4)
    x, others = x.astype(np.float64), (labels + 1) % 3
    lower = curvature_bounds(graph).lower[labels, others]
    for eta in (-1e-9, 1.0 / lower, 2.0 / lower, np.nan, np.inf):
        assert (certificate(graph, x, labels, others, np.broadcast_to(eta, len(x)), x, lower)[2] == -np.inf).all()


def test_the_dual_at_the_input_is_the_quadratic_bound():
    _, graph, x, labels = cases.question("softplus", "2", 4)
    x, others = x.astype(np.float64), (labels + 1) % 3
    lower = curvature_bounds(graph).lower[labels, others]
    m, g, _ = certificate(graph, x, labels, others, np.zeros(len(x)), x, lower)
    size = np.sqrt((g.midpoint**2).sum(1))
    plain = quadratic_radii(m.lower, size, lower)
    eta = quadratic_multipliers(m.lower, size, lower)
    *_, q = certificate(graph, x, labels, others, eta, x, lower)
    np.testing.assert_allclose(np.sqrt(2 * q), plain, rtol=1e-9)
    exact = (-size + np.sqrt(size**2 + 2 * lower * m.lower)) / lower
    assert (plain <= exact * (1 + 1e-12)).all()
    assert (quadratic_radii(np.array([0.0, -1.0, np.nan]), np.ones(3), np.ones(3)) == 0).all()


def test_wrong_predictions_and_ties_have_radius_zero():
    _, graph, x, labels = cases.question("tanh", "1", 2)
    m = cases.margins(graph, x, labels)
    m[0, (labels[0] + 1) % 3] = 0.0
    m[1, (labels[1] + 1) % 3] = np.nan
    found = curvature_radii(graph, x, labels, m)
    assert (found.radii[:2] == 0).all() and (found.radii[2:] > 0).all()
    with pytest.raises(InputError):
        curvature_radii(graph, x, labels, m[:, :2])
