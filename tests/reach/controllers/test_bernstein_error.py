"""The three error bounds of a Bernstein form against the largest error that a dense sample sees."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies.controllers import Bound, network

from reach.controllers.bernstein_error import a_priori, by_slopes, sampled
from reach.controllers.bernstein_fit import classical
from reach.controllers.bernstein_form import Tensor
from reach.controllers.bernstein_source import Domain, source_of
from reach.controllers.blackbox import BlackBox

seeds = st.integers(0, 2**32 - 1)


def dense(domain: Domain, form: Tensor, control, rng: np.random.Generator) -> np.ndarray:
    """u - B at many points, corners included."""
    n = len(domain.active)
    t = np.concatenate([rng.uniform(-1, 1, (4000, n)), np.array(list(itertools.product((-1.0, 0.0, 1.0), repeat=n)))])
    return control(domain.points(t)) - form.values(t)[0]


def random_domain(rng: np.random.Generator, n: int, width: float) -> Domain:
    return Domain(rng.normal(size=n), rng.uniform(0.2, 1.0, n) * width, np.arange(n))


@settings(max_examples=15)
@given(seeds, st.integers(1, 3), st.sampled_from(["abs", "norm", "wave"]))
def test_black_box_bounds_are_above_the_truth(seed, n, name):
    rng = np.random.default_rng(seed)
    f, l2, columns = {
        "abs": (lambda x: np.abs(x).sum(axis=1), np.sqrt(n), 1.0),
        "norm": (lambda x: np.sqrt((x * x).sum(axis=1)), 1.0, 1.0),
        "wave": (lambda x: np.sin(5 * x.sum(axis=1)), 5 * np.sqrt(n), 5.0),
    }[name]
    domain = random_domain(rng, n, 10 ** rng.uniform(-1, 0.5))
    degrees = tuple(int(d) for d in rng.integers(1, 6, n))
    for constant in (l2, np.full((1, n), columns)):
        box = BlackBox(f, constant).bind([f"x{i}" for i in range(n)], 1)
        source = source_of(box)
        form, halves = classical(source, domain, degrees)
        whole = box.l2_constants(None, None)
        error = dense(domain, form, box.evaluate, rng)
        bound = a_priori(domain, degrees, halves, box.column_constants(None, None), whole)
        assert (np.abs(error).max(axis=0) <= bound).all()
        found = sampled(source, domain, form, tuple(int(p) for p in rng.integers(1, 6, n)), box.column_constants(None, None), whole)
        assert (found.lower <= error.min(axis=0)).all() and (error.max(axis=0) <= found.upper).all()


@settings(max_examples=15)
@given(seeds, st.integers(1, 3), st.sampled_from(["relu", "tanh", "abs"]))
def test_slope_bounds_are_above_the_truth_for_any_form(seed, n, kind):
    rng = np.random.default_rng(seed)
    graph = network(rng, (n, 6, 2), kind, 2.0)
    source = source_of(Bound(graph))
    domain = random_domain(rng, n, 10 ** rng.uniform(-2, 0.3))
    form, _ = classical(source, domain, tuple(int(d) for d in rng.integers(0, 5, n)))
    form = Tensor(form.coefficients + rng.normal(size=form.coefficients.shape) * 0.1)  # not even close to the network
    error = dense(domain, form, graph, rng)
    found = by_slopes(source, source.slopes, domain, form, tuple(int(p) for p in rng.integers(1, 4, n)), int(rng.integers(1, 200)), np.full(2, 1e-9))
    assert (found.lower <= error.min(axis=0)).all() and (error.max(axis=0) <= found.upper).all()


def test_the_a_priori_bound_is_the_published_one():
    domain = Domain(np.array([0.0, 0.0]), np.array([1.0, 0.5]), np.arange(2))
    columns = np.array([[3.0, 4.0]])
    assert a_priori(domain, (4, 4), np.zeros(1), columns, None)[0] == pytest.approx(3 * 2 / 4 + 4 * 1 / 4, rel=1e-12)
    assert a_priori(domain, (4, 4), np.zeros(1), columns, np.array([1.0]))[0] == pytest.approx(0.5 * np.sqrt((4 + 1) / 4), rel=1e-12)
    assert a_priori(domain, (4, 0), np.zeros(1), columns, None)[0] == np.inf


def test_more_cells_bring_the_slope_bound_down_to_the_samples():
    rng = np.random.default_rng(1)
    graph = network(rng, (2, 8, 1), "tanh", 1.5)
    source = source_of(Bound(graph))
    domain = Domain(np.zeros(2), np.full(2, 0.3), np.arange(2))
    form, _ = classical(source, domain, (3, 3))
    widths = [float((e.upper - e.lower)[0]) for e in (by_slopes(source, source.slopes, domain, form, (1, 1), k, np.zeros(1)) for k in (1, 20, 400, 3000))]
    error = dense(domain, form, graph, rng)
    assert widths[0] > widths[1] > widths[2] >= widths[3] >= float(np.ptp(error))
    assert widths[3] < 1.6 * float(np.ptp(error))


def test_huge_coordinates_keep_their_rounding():
    """At 1e9 neighbouring floats are 1e-7 apart: the bound must grow by what that means, and must stay above the exact error."""
    box = BlackBox(lambda x: np.abs(x[:, 0] - 1e9), 1.0, evaluation_error=0.0).bind(("x",), 1)
    source = source_of(box)
    domain = Domain(np.array([1e9]), np.array([1e-6]), np.array([0]))
    form, _ = classical(source, domain, (1,))
    found = sampled(source, domain, form, (50,), np.ones((1, 1)), np.ones(1))
    assert found.lower[0] <= -form.coefficients.max() and found.upper[0] - found.lower[0] >= 1e-6
