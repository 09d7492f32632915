"""Jets, branch and bound, fit errors and slopes against ball arithmetic and dense samples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from certify.core.activation import KINDS, activation_of
from certify.core.graph import GraphBuilder
from certify.core.interval import Interval
from reach.proof import branch, fit_error
from reach.proof.activations import parts_of
from reach.proof.fit_error import Fit, fit_errors
from reach.proof.jets import Jet
from reach.proof.slopes import slope_ranges

PARAMETERS = {"leaky_relu": {"alpha": 0.2}, "elu": {"alpha": 0.7}, "celu": {"alpha": 1.3}, "softplus": {"beta": 2.0}, "hardtanh": {"min": -0.5, "max": 1.5}}


def node_of(kind: str, neurons: int, **attrs):
    b = GraphBuilder()
    x = b.add("input", attrs={"shape": (neurons,)})
    arrays = {"slope": np.linspace(-0.5, 0.5, neurons)} if kind == "prelu" else None
    return b.build(b.add("activation", [x], {"kind": kind, **PARAMETERS.get(kind, {}), **attrs}, arrays, name="a"))["a"]


def some_fit(rng: np.random.Generator, neurons: int, degree: int) -> tuple[Fit, np.ndarray, np.ndarray]:
    centre, radius = rng.normal(size=neurons) * 2, 10.0 ** rng.uniform(-6, 0.7, neurons)
    never = np.full(neurons, np.inf)  # no bound is good enough: the searches go to their end
    fit = Fit(centre, radius, rng.normal(size=(neurons, degree + 1)), -never, never, -never)
    return fit, centre - radius * rng.random(neurons), centre + radius * rng.random(neurons)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_errors_and_slopes_cover_dense_samples(kind):
    rng, k = np.random.default_rng(5), 12
    node = node_of(kind, k)
    parts, f = parts_of(node), activation_of(node)
    fit, low, high = some_fit(rng, k, 4)
    error, (least, most) = fit_errors(parts, fit, low, high), slope_ranges(parts, fit, low, high)
    z = low + (high - low) * np.linspace(0, 1, 400)[:, None]
    t = (z - fit.centre) / fit.radius
    q = sum(fit.coefficients[:, j] * t**j for j in range(5))
    gap = np.abs(q - f.value(z)).max(0)
    rounding = 1e-14 * (1 + np.abs(fit.coefficients).sum(1) + np.abs(z).max(0))
    assert (gap <= error + rounding).all()
    assert (error <= gap * (1 + 1e-2) + 1e-4 * rounding * 1e10).all()  # and it is near the truth
    d = f.derivative(z)
    assert (least <= d.min(0) + 1e-13 * (1 + np.abs(z).max(0))).all() and (most >= d.max(0) - 1e-13 * (1 + np.abs(z).max(0))).all()
    lo, hi = f.slope_range_on(low, high)
    wide = 1e-5 * (hi - lo) + 1e-12 * (1 + np.abs(z).max(0))
    assert (least >= lo - wide).all() and (most <= hi + wide).all()


def test_the_identity_has_no_error():
    node = node_of("relu", 2)
    fit = Fit(np.array([1.3, -2.7]), np.array([0.4, 0.1]), np.array([[1.3, 0.4, 0.0], [0.0, 0.0, 0.0]]), *np.zeros((3, 2)))
    error = fit_errors(parts_of(node), fit, np.array([0.9, -2.8]), np.array([1.7, -2.6]))
    assert (error == 0).all()


def test_a_range_of_one_point_at_the_corner():
    node = node_of("relu", 1)
    fit = Fit(np.zeros(1), np.ones(1), np.array([[0.25, 0.0]]), *np.zeros((3, 1)))
    assert fit_errors(parts_of(node), fit, np.zeros(1), np.zeros(1))[0] >= 0.25
    assert [float(x[0]) for x in slope_ranges(parts_of(node), fit, np.zeros(1), np.zeros(1))] == [0.0, 1.0]


@given(st.integers(0, 10**6))
def test_branch_and_bound_covers(seed):
    """Random cubics on random intervals, bounded by models that are told their own third order."""
    rng = np.random.default_rng(seed)
    c, low = rng.normal(size=(5, 4)), rng.normal(size=5)
    high = low + rng.random(5) * 3

    def model(which, t, r):
        d = [sum(np.prod(np.arange(j, j - i, -1.0)) / np.prod(np.arange(1.0, i + 1)) * c[which, j] * t ** (j - i) for j in range(i, 4)) for i in range(4)]
        return d[0], d[1] * r, d[2] * r * r, np.abs(d[3]) * r**3, np.full(len(which), 1e-13)

    search = branch.Search(np.full(5, -np.inf), 1e-9, np.zeros(5))
    top = branch.largest(model, low, high, search)
    x = low + (high - low) * np.linspace(0, 1, 2001)[:, None]
    y = sum(c[:, j] * x**j for j in range(4))
    assert (top >= y.max(0) - 1e-12).all() and (top <= y.max(0) + 1e-4 * (1 + np.abs(y).max(0))).all()
    both = branch.largest(model, low, high, search, absolute_value=True)
    assert (both >= np.abs(y).max(0) - 1e-12).all()


def test_a_model_that_is_not_a_number_proves_nothing():
    def nothing(which, t, r):
        return (np.full(len(which), np.nan),) * 5

    assert branch.largest(nothing, np.zeros(1), np.ones(1), branch.Search(np.ones(1), 1e-3, np.zeros(1)))[0] == np.inf


@given(st.integers(3, 12))
def test_powers_are_economised(j):
    a, b, c, rest = fit_error._ECONOMISED[j]
    x = np.linspace(-1, 1, 1001)
    assert np.abs(x**j - (a + b * x + c * x * x)).max() <= rest + 1e-15


flint = pytest.importorskip("flint")


@given(st.sampled_from(["tanh", "sigmoid", "softplus", "exp", "erf", "quotient", "product"]), st.floats(-12, 12))
def test_jets_enclose(name, x):
    flint.ctx.prec, flint.ctx.cap = 400, 6
    s = flint.arb_series([flint.arb(x), 1])
    jet = Jet.start(Interval.point(np.array([x])), 5)
    one = flint.arb_series([1])
    e = (-s).exp()
    truth, found = {
        "tanh": lambda: ((one - e * e) / (one + e * e), jet.tanh()),
        "sigmoid": lambda: (one / (one + e), jet.sigmoid()),
        "softplus": lambda: ((one + s.exp()).log(), jet.softplus()),
        "exp": lambda: (s.exp(), jet.exp()),
        "erf": lambda: (s.erf(), jet.erf()),
        "quotient": lambda: (s / (one + s * s), jet / (jet * jet + 1.0)),
        "product": lambda: (s * s.sin(), jet * jet.sin_cos()[0]),
    }[name]()
    for i, part in enumerate(found.parts):
        assert not bool(truth[i] < flint.arb(float(part.lower[0]))) and not bool(truth[i] > flint.arb(float(part.upper[0]))), i
