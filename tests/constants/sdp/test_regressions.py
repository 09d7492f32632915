"""What reviewers found, one test each (B, D: test_inequality; A: test_chain; E: tests/core/test_midrad)."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from constants.sdp.small_chains import chain, scalar
from strategies.networks import random_graph

import certify
from certify.constants.public import graph_constant
from certify.constants.sdp import chain as chains
from certify.constants.sdp import inequality, layers
from certify.constants.sdp import solve as solving
from certify.constants.sdp.chain import chain_of
from certify.constants.sdp.solve import solve
from certify.constants.semidefinite import pair_bounds, semidefinite
from certify.core.errors import CertifyError, HypothesisError, UnsupportedLayerError
from certify.core.graph import GraphBuilder

REFUSED = (HypothesisError, UnsupportedLayerError)


def layer_norm(weight: float, out: float, n: int = 3, inner: float = 500.0):
    b = GraphBuilder()
    x = b.add("input", attrs={"shape": (n,)})
    x = b.add("dense", [x], arrays={"weight": np.eye(n) * 2.0**inner})
    x = b.add("layer_norm", [x], {"dims": 1, "eps": 1.0, "center": True}, {"weight": np.full(n, 2.0**weight)})
    return b.build(b.add("dense", [x], arrays={"weight": np.eye(n) * 2.0**out}))


@pytest.mark.parametrize(("mantissa", "e"), [(1.45, -536), (1.9, -536), (1.3, -534), (1.0, -538), (1.7, -540)])
@pytest.mark.parametrize("out", [0, 436, 500])
@pytest.mark.parametrize("inner", [0, 100])
def test_c_squares_of_slopes_below_the_normal_range(mantissa, e, out, inner):
    """C: r^2 was formed, and rounded, in the subnormals. S+ >= (r w)^2 g^2 exactly."""
    r = mantissa * 2.0**e
    layer = scalar([[2.0**inner]], [[2.0**out]], -r, r, group=True)
    smallest = Fraction(r) ** 2 * Fraction(4) ** (out + inner)
    for share in (0.5, 0.9, 0.999, 1 + 1e-4, 1.5):
        u = float(Fraction(share) * Fraction(r) ** 2 * Fraction(4) ** inner)
        if u > 0:
            with np.errstate(all="ignore"):
                metric, _ = layers.proved_step(layer, np.eye(1), np.array([u]), np.array([[math.ldexp(u, 2 * out) * (1 + 1e-9)]]))
            assert metric is None or Fraction(float(metric[0, 0])) >= smallest


@pytest.mark.parametrize(("weight", "out"), [(-534, -30), (-536, -100), (-538, 0), (-542, 20), (-300, 10)])
def test_b_a_layer_norm_with_tiny_weights(weight, out):
    """B: the whole group was skipped. The gain at 0 is at least weight out 2^500 (1 + var)^(-1/2), here almost weight out 2^500."""
    graph = layer_norm(weight, out)
    truth = 2.0 ** (weight + out + 500 - 1)
    c = chain_of(graph)
    for t in (2 * out + 1, 2 * out + 6, 2 * out - 20, -890, 0):
        for less in (0, 10):
            assert not inequality.holds(c, truth * 2.0**-less, [np.array([2.0**t])])
    try:
        assert semidefinite(graph).bound >= truth
    except REFUSED:
        pass


def test_a_names_in_pairs_too():
    b = GraphBuilder()
    x = b.add("input", attrs={"shape": (2,)})
    t = b.add("activation", [x], {"kind": "tanh"}, name="m/abs")
    m = b.add("maximum", [x, b.add("scale", [x], arrays={"value": np.full(2, -3.0)})], name="m")
    graph = b.build(b.add("add", [m, b.add("scale", [t], arrays={"value": np.full(2, 1e-3)})]))
    calls = [lambda: semidefinite(graph), lambda: pair_bounds(graph, 2, [0, 1], "balanced", strict=True)]
    for call in (*calls, lambda: graph_constant(graph, "l2", "sdp", effort="fast", lower=False)):
        with pytest.raises(UnsupportedLayerError, match="name"):
            call()
    assert pair_bounds(graph, 2, [0, 1], "balanced") is None
    auto = graph_constant(graph, "l2", "auto", effort="balanced", lower=False)
    assert auto.method == "product" and auto.proof is None


@pytest.mark.parametrize("exponent", [200, 150, 100, -100, -150, -200, 300, -300])
@pytest.mark.parametrize("depth", [1, 2, 4])
def test_extreme_weights_are_refused_or_true(exponent, depth):
    """Never an exception of another kind, never a bound below the truth."""
    w = np.array([[2.0, 1.0], [0.5, 3.0]]) * float(f"1e{exponent}")
    c = chain([scalar(w, np.eye(2)) for _ in range(depth)], np.eye(2))
    exact = np.linalg.norm(np.linalg.matrix_power(np.array([[2.0, 1.0], [0.5, 3.0]]), depth), 2)
    try:
        bound = solve(c).bound
    except CertifyError as error:
        assert isinstance(error, REFUSED), f"{type(error).__name__}: {error}"
        return
    assert math.isnan(bound) is False and (bound == math.inf or math.log10(bound) >= exponent * depth + math.log10(exact) - 1e-9)


@pytest.mark.parametrize("effort", ["fast", "balanced"])
def test_extreme_weights_of_a_network(effort):
    for exponents in ((200, 200), (200, -200), (-200, -200), (160, 160), (307, 1)):
        b = GraphBuilder()
        x = b.add("input", attrs={"shape": (2,)})
        for e in exponents:
            x = b.add("activation", [b.add("dense", [x], arrays={"weight": np.eye(2) * float(f"1e{e}")})], {"kind": "relu"})
        graph = b.build(x)
        try:
            bound = semidefinite(graph, effort).bound
        except CertifyError as error:
            assert isinstance(error, REFUSED), f"{type(error).__name__}: {error}"
            continue
        assert bound == math.inf or math.log10(bound) >= sum(exponents) - 1e-9


def test_a_maximum_of_a_tensor_with_itself_is_that_tensor():
    """A difference that is exactly 0 by structure is a dead row, as the checker reads it; with a radius around 0 the search has nothing to hold on to."""
    b = GraphBuilder()
    x = b.add("input", attrs={"shape": (2,)})
    d = b.add("divide", [x], arrays={"value": np.array([3.0, 7.0])})
    y = b.add("dense", [b.add("maximum", [d, d])], arrays={"weight": np.eye(2)})
    y = b.add("activation", [y], {"kind": "relu"})
    c = chain_of(b.build(y))
    assert not c.layers[0].weight.dense().mid.any() and not c.layers[0].weight.radius().any()
    assert semidefinite(b.build(y)).bound == pytest.approx(1 / 3)


def test_stacked_states_are_estimated_before_they_are_assembled(monkeypatch):
    """Thirty skips that end in reverse order: 30 tensors of 20 entries wait together, a state of 600 where every tensor has 20."""
    b, rng, waiting = GraphBuilder(), np.random.default_rng(0), []
    x = b.add("input", attrs={"shape": (20,)})
    for _ in range(30):
        x = b.add("activation", [b.add("dense", [x], arrays={"weight": rng.normal(size=(20, 20))})], {"kind": "relu"})
        waiting.append(x)
    for t in reversed(waiting[:-1]):
        x = b.add("activation", [b.add("add", [b.add("activation", [x], {"kind": "tanh"}), t])], {"kind": "relu"})
    graph = b.build(x)
    widest = max(layer.inject.shape[0] for layer in chain_of(graph).layers)
    assert widest > 500
    monkeypatch.setattr(chains, "MEMORY", 10 * 8 * (widest // 2) ** 2)
    with pytest.raises(HypothesisError, match="memory"):
        chain_of(graph)


def test_a_thousand_sums_in_a_row():
    b = GraphBuilder()
    x = y = b.add("input", attrs={"shape": (2,)})
    for _ in range(1200):
        y = b.add("add", [y, x])
    with pytest.raises(HypothesisError, match="too many sums"):
        semidefinite(b.build(b.add("activation", [y], {"kind": "relu"})))


@pytest.mark.parametrize(("seed", "by_layers"), [(1215, False), (1047, True), (1326, True), (1182, False), (1010, True)])
def test_honest_files_are_accepted(seed, by_layers, tmp_path, monkeypatch):
    """From a sweep of save and check over random networks: what the prover writes the checker must believe."""
    graph = random_graph(np.random.default_rng(seed))
    if by_layers:
        monkeypatch.setattr(solving, "LARGEST_INEQUALITY", 0)
    found = graph_constant(graph, "l2", "sdp", effort="fast", lower=False)
    assert certify.check(found.save(tmp_path / "file"), graph).ok
