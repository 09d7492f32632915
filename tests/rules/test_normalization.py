"""LayerNorm's constants against its Jacobians at the worst points, its rounding term against exact arithmetic where floats hurt, and broken versions."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from truth.local_facts import exact_output, rounding, stretch
from truth.networks import ORDER

from certify.core.errors import InputError
from certify.core.evaluate import evaluate
from certify.core.graph import Graph, GraphBuilder
from certify.rules.base import Local, rule_for
from certify.rules.normalization import _peak

NORMS = ("l2", "linf", "l1")
norms = pytest.mark.parametrize("norm", NORMS)
seeds = st.integers(0, 2**32 - 1)


def norm_graph(shape, dims=1, eps=1e-2, center=True, weight=None, bias=None) -> Graph:
    b = GraphBuilder()
    x = b.add("input", attrs={"shape": (math.prod(shape),)})
    arrays = {"weight": weight, "bias": bias}
    return b.build(b.add("layer_norm", [b.add("reshape", [x], {"shape": shape})], {"dims": dims, "eps": eps, "center": center}, arrays, name="node"))


def local_of(graph: Graph, norm: str) -> Local:
    return rule_for("layer_norm").local(graph["node"], graph.input_shapes(graph["node"]), norm, "fast")


def jacobian(x: np.ndarray, eps: float, center: bool, weight: np.ndarray | float = 1.0) -> np.ndarray:
    """The derivative of one group, from the quotient rule: d(c_i / s) = dc_i / s - c_i (c . dc) / (d s^3)."""
    d = len(x)
    project = np.eye(d) - center * np.ones((d, d)) / d
    c = project @ x
    s = np.sqrt(c @ c / d + eps)
    return (weight * np.ones(d))[:, None] * ((np.eye(d) / s - np.outer(c, c) / (d * s**3)) @ project)


def worst_points(rng, d: int, eps: float, center: bool):
    """Random ones, and those of the proof: one entry against equal others, |c|^2 / d = eps t / (1 - t)."""
    for t in np.linspace(0, 0.9, 25):
        for sign in (1.0, -1.0):
            m = 0.5 * np.arccos(-1 / np.sqrt(d)) if d > 1 else 0.0  # the angle of the largest |c_i| (|c|_1 - 2 |c_i|)
            c = np.where(np.arange(d) == 0, np.cos(m), sign * np.sin(m) / np.sqrt(max(d - 1, 1)))
            if center and d > 2:  # signs that cancel the mean
                c[1:] = np.sin(m) / np.sqrt(d - 1) * np.where(np.arange(d - 1) % 2, 1, -1)
            yield c * np.sqrt(d * eps * t / (1 - t))
    for _ in range(30):
        yield rng.normal(size=d) * np.sqrt(eps) * 10 ** rng.uniform(-2, 1)


@norms
@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("d", [1, 2, 3, 5, 8, 9, 16, 33])
def test_jacobians_stay_below_the_constant_and_come_near(norm, center, d):
    rng = np.random.default_rng(d)
    for eps in (1e-5, 4.0):
        constant = local_of(norm_graph((d,), eps=eps, center=center), norm).constants[0]
        best = max(np.linalg.norm(jacobian(x, eps, center), ORDER[norm]) for x in worst_points(rng, d, eps, center))
        assert best <= constant * (1 + 1e-12)
        assert best >= (0.999 if norm == "l2" else 0.75) * constant


@given(seeds)
def test_affine_norms_of_groups(seed):
    rng = np.random.default_rng(seed)
    groups, d, eps, center = int(rng.integers(1, 4)), int(rng.integers(1, 7)), float(10 ** rng.uniform(-6, 1)), bool(rng.integers(2))
    weight = rng.normal(size=d) * 10 ** rng.uniform(-2, 2)
    graph = norm_graph((groups, d), eps=eps, center=center, weight=weight, bias=rng.normal(size=d))
    for norm in NORMS:
        constant = local_of(graph, norm).constants[0]
        for x in worst_points(rng, d, eps, center):
            assert np.linalg.norm(jacobian(x, eps, center, weight), ORDER[norm]) <= constant * (1 + 1e-12)


@norms
def test_the_constant_is_reached_at_a_constant_input(norm):
    graph = norm_graph((4,), eps=1e-5, weight=np.full(4, -3.0))
    local, x = local_of(graph, norm), np.full(4, 7.0)
    step = 1e-9 * np.array({"l2": [1.0, -1.0, 1.0, -1.0], "linf": [1.0, -1.0, -1.0, -1.0], "l1": [1.0, 0.0, 0.0, 0.0]}[norm])
    assert 0.9999 < stretch(local, graph, x, x + step, norm) <= 1
    if norm == "l2":
        assert local.constants[0] == pytest.approx(3 / math.sqrt(1e-5), rel=1e-15)


def test_a_centred_group_of_one_entry_does_not_move():
    assert all(local_of(norm_graph((3, 1)), norm).constants == (0.0,) for norm in NORMS)
    assert local_of(norm_graph((3, 1), center=False, eps=0.25), "l1").constants == (2.0,)


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("d", [*range(2, 14), 64, 100, 1000])
def test_the_peak_is_the_maximum_over_t(center, d):
    t = np.linspace(0, 1, 100_001)[:-1]
    a, b = (2 * (1 - 1 / d) if center else 1.0), (math.sqrt(d) - 1) / 2
    best = float((np.sqrt(1 - t) * (a + b * t)).max())
    assert best * (1 - 1e-12) <= math.sqrt(_peak(d, center, "l1")) <= best * (1 + 1e-8)


HARD = {
    "large mean": lambda rng, d: 1e8 + rng.normal(size=d),
    "equal entries": lambda rng, d: np.full(d, 0.1),
    "tiny": lambda rng, d: rng.normal(size=d) * 1e-160,
    "squares overflow": lambda rng, d: rng.normal(size=d) * 1e200,
    "one large entry": lambda rng, d: np.where(np.arange(d) == 0, 1e170, rng.normal(size=d)),
    "ordinary": lambda rng, d: rng.normal(size=d),
}


@pytest.mark.parametrize("name", HARD)
@given(seed=seeds)
def test_rounding_where_floats_hurt(name, seed):
    rng = np.random.default_rng(seed)
    d, center = int(rng.integers(1, 8)), bool(rng.integers(2))
    weight = None if rng.random() < 0.5 else rng.normal(size=d) * 10 ** rng.uniform(-150, 3)
    graph = norm_graph((2, d), eps=float(10 ** rng.uniform(-12, 1)), center=center, weight=weight, bias=rng.normal(size=d) if rng.random() < 0.5 else None)
    sample = np.concatenate([HARD[name](rng, d), rng.normal(size=d)])
    computed = evaluate(graph, sample[None])[0]
    assert np.isfinite(computed).all()
    for norm in NORMS:
        assert rounding(local_of(graph, norm), graph, sample, computed, norm) <= 1


@norms
def test_an_overflow_has_a_term_that_no_walker_takes(norm):
    graph = norm_graph((4,), weight=np.full(4, 1e-100))
    local = local_of(graph, norm)
    assert local.relative[0] * 2.0**1022 >= 2.0**900
    huge = local_of(norm_graph((4,), weight=np.full(4, 1e308)), norm)
    assert huge.absolute >= 2.0**900
    assert math.isinf(local_of(norm_graph((4,), eps=1e-300), norm).absolute)


@pytest.mark.parametrize("eps", [0.0, -1e-5])
def test_eps_that_is_not_positive_is_refused_with_the_reason(eps):
    graph = norm_graph((4,), eps=eps)
    for ask in (lambda: local_of(graph, "l2"), lambda: graph(np.zeros((1, 4)))):
        with pytest.raises(InputError) as caught:
            ask()
        assert "no finite constant" in str(caught.value) and "node" in str(caught.value.where) and "sqrt(eps)" in str(caught.value)


# -- the battery must notice a wrong rule ----------------------------------------------------------------------------------------------------------
def _violation(change, norm: str, eps: float, claim: int) -> float:
    rng, worst = np.random.default_rng(0), 0.0
    for d in (2, 5, 16):
        graph = norm_graph((d,), eps=eps, weight=np.linspace(-1, 3, d))
        local = change(local_of(graph, norm), d)
        for x in [*worst_points(rng, d, eps, True), 1e6 + rng.normal(size=d) * 1e-3, np.full(d, 1e6 / 3)]:
            if claim == 0:
                step = np.where(np.arange(d) == d - 1, 1.0, -1.0 / max(d - 1, 1)) * 1e-7 * math.sqrt(eps)
                worst = max(worst, stretch(local, graph, x, x + step, norm))
            else:
                worst = max(worst, rounding(local, graph, x, evaluate(graph, x[None])[0], norm))
    return worst


def _scaled(**factors):
    return lambda local, d: dataclasses.replace(local, **{k: (v[0] * getattr(local, k)[0],) if isinstance(v, tuple) else v for k, v in factors.items()})


MUTANTS = {
    "without 1 / sqrt(eps)": (_scaled(constants=(1e-2,)), "l2", 1e-4, 0),
    "eps outside the root": (_scaled(constants=(0.5,)), "l2", 4.0, 0),
    "without the weight": (_scaled(constants=(1 / 3,)), "l2", 1.0, 0),
    "the l2 constant in linf": (lambda local, d: dataclasses.replace(local, constants=(3.0,)), "linf", 1.0, 0),
    "the l2 constant in l1": (lambda local, d: dataclasses.replace(local, constants=(1.5,)), "l1", 1.0, 0),
    "rounding of the mean without 1 / sqrt(eps)": (_scaled(relative=(1e-3,)), "l2", 1e-6, 1),
    "no rounding of the mean": (_scaled(relative=(0.0,)), "linf", 1e-5, 1),
    "no rounding of the quotient": (lambda local, d: dataclasses.replace(local, absolute=0.0, relative=(0.0,)), "l1", 1.0, 1),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_mutants_are_caught(name):
    change, norm, eps, claim = MUTANTS[name]
    assert _violation(change, norm, eps, claim) > 1
    assert _violation(lambda local, d: local, norm, eps, claim) <= 1


def test_the_exact_value_is_the_formula():
    """The truth that the other tests use, once by hand: (1, 3) has mean 2 and variance 1."""
    graph = norm_graph((2,), eps=3.0, weight=np.array([2.0, 4.0]), bias=np.array([0.5, 0.0]))
    assert [float(v) for v in exact_output(graph, np.array([1.0, 3.0]))] == [-0.5, 2.0]
