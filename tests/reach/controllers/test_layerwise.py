"""Layer-wise abstraction: the control of every state of the set is in the model, on the same symbols; forks share what is shared and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies.loops import linear, network

import reach
import reach.controllers.layerwise as layerwise
from certify.core.activation import KINDS
from certify.core.errors import InputError, UnsupportedLayerError
from certify.core.graph import GraphBuilder
from reach.controllers.controller import Controller
from reach.controllers.layerwise import Layerwise
from reach.sets.polyzonotope import PolynomialZonotope
from reach.sets.ring import ring

STATES = ("a", "b", "c")


def random_set(seed: int, scale: float = 0.4, variables: int = 2, symbols: int = 5, order: int = 4) -> PolynomialZonotope:
    rng = np.random.default_rng(seed)
    r = ring(variables, order)
    P = np.zeros((3, r.size))
    P[:, : min(6, r.size)] = rng.standard_normal((3, min(6, r.size))) * scale
    return PolynomialZonotope(r, P, rng.standard_normal((3, symbols)) * scale / 4)


def excess(graph, state: PolynomialZonotope, method: Layerwise | None = None, count: int = 3000, seed: int = 0) -> float:
    """The largest |u - model| / box over sampled symbols: at most 1, or the abstraction is false."""
    controller = Controller(graph).bind(STATES, graph.output_shape[0])
    model = (method or Layerwise()).prepare(controller, state.ring.order)(state)
    rng = np.random.default_rng(seed)
    s, e = rng.uniform(-1, 1, (count, state.ring.variables)), rng.uniform(-1, 1, (count, state.generators.shape[1]))
    corner = rng.random(count) < 0.6
    s[corner], e[corner] = np.sign(s[corner]), np.sign(e[corner])
    gap = np.abs(controller.evaluate(state.at(s, e)) - PolynomialZonotope(state.ring, model.coefficients, model.generators).at(s, e))
    return float((np.maximum(gap - 1e-12 * (1 + np.abs(model.coefficients).sum(1)), 0) / model.box).max())


def forked(seed: int, op: str, skip: bool, join: bool):
    """Two branches from one hidden layer that meet again."""
    rng = np.random.default_rng(seed)
    b = GraphBuilder()
    weight = lambda n, m: {"weight": rng.standard_normal((n, m)) * rng.choice([0.3, 1.0, 2.0])}  # noqa: E731
    h = b.add("activation", [b.add("dense", [b.add("input", attrs={"shape": (3,)})], arrays=weight(8, 3) | {"bias": rng.standard_normal(8)})], {"kind": "relu"})
    p = b.add("dense", [b.add("activation", [b.add("dense", [h], arrays=weight(8, 8))], {"kind": "tanh"})], arrays=weight(8, 8))
    q = b.add("dense", [b.add("activation", [b.add("dense", [h], arrays=weight(8, 8))], {"kind": "sigmoid"})], arrays=weight(8, 8))
    y = b.add(op, [p, q])
    if skip:
        y = b.add("add", [y, h])
    if join:
        y = b.add("concat", [y, q], {"axis": 0})
    return b.build(b.add("dense", [y], arrays=weight(2, 16 if join else 8)))


@pytest.mark.parametrize("op", ["add", "sub", "multiply", "maximum", "minimum"])
@given(st.integers(0, 10_000), st.booleans(), st.booleans())
def test_networks_that_fork_and_meet(op, seed, skip, join):
    assert excess(forked(seed, op, skip, join), random_set(seed), count=600) <= 1


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"prelu"}))
def test_every_activation_of_certify(kind):
    assert excess(network([3, 12, 12, 2], kind, seed=4, gain=1.5), random_set(7)) <= 1


@given(st.integers(0, 10_000), st.sampled_from(["relu", "tanh", "sigmoid", "gelu", "leaky_relu"]), st.sampled_from([0.0, 1e-8, 0.05, 1.0, 20.0]), st.integers(1, 6))
def test_any_network_and_any_size_of_set(seed, kind, scale, degree):
    assert excess(network([3, 8, 8, 2], kind, seed, gain=1.5), random_set(seed, scale), Layerwise(degree), count=300) <= 1


@pytest.mark.parametrize(("variables", "symbols", "order"), [(0, 0, 3), (0, 4, 0), (1, 0, 6), (3, 2, 2), (2, 1, 1)])
def test_sets_without_variables_or_without_symbols(variables, symbols, order):
    assert excess(network([3, 8, 2], "tanh", 1), random_set(3, variables=variables, symbols=symbols, order=order)) <= 1


def test_a_linear_network_is_exact_and_keeps_every_symbol():
    w = np.array([[1.0, -2.0, 0.5], [0.0, 0.0, 0.0]])
    state = random_set(11)
    model = Layerwise().prepare(Controller(linear(w, [1.0, 3.0])).bind(STATES, 2), 4)(state)
    assert (model.box <= 1e-13).all()
    assert np.abs(model.generators - w @ state.generators).max() <= 1e-14


def test_x_minus_x_is_zero_because_the_symbols_are_shared():
    b = GraphBuilder()
    h = b.add("activation", [b.add("dense", [b.add("input", attrs={"shape": (3,)})], arrays={"weight": np.ones((2, 3))})], {"kind": "relu"})
    graph = b.build(b.add("sub", [b.add("dense", [h], arrays={"weight": 2 * np.eye(2)}), b.add("add", [h, h])]))
    model = Layerwise().prepare(Controller(graph).bind(STATES, 2), 4)(random_set(5))
    size = np.abs(model.coefficients).sum(1) + np.abs(model.generators).sum(1) + model.box
    assert (size <= 1e-12).all()


def test_processing_belongs_to_the_controller():
    """u = clamp(scale (net(inputs) - offset)) with inputs 30, 1.4, b, a - c."""
    net = network([4, 6, 1], "relu", 2)
    controller = Controller(net, inputs=["30", "1.4", "b", "a - c"], offset=0.5, scale=2, clamp=(-1, 0.75)).bind(STATES, 1)
    x = np.random.default_rng(0).uniform(-1, 1, (50, 3))
    read = np.stack([np.full(50, 30.0), np.full(50, 1.4), x[:, 1], x[:, 0] - x[:, 2]], 1)
    assert np.abs(controller.evaluate(x) - np.clip(2 * (net(read) - 0.5), -1, 0.75)).max() <= 1e-12
    assert excess(controller.graph, random_set(2)) <= 1


@pytest.mark.parametrize(
    ("bad", "word"),
    [
        ({"inputs": ["a", "b"]}, "inputs"),
        ({"inputs": ["a", "b", "d"]}, "d"),
        ({"inputs": ["a", "b", "a*b"]}, "affine"),
        ({"offset": [1, 2, 3]}, "offset"),
        ({"scale": "much"}, "scale"),
        ({"scale": float("nan")}, "scale"),
        ({"clamp": (1, -1)}, "clamp"),
    ],
)
def test_bad_processing_is_refused_by_name(bad, word):
    with pytest.raises(InputError, match=word):
        Controller(network([3, 4, 1]), **bad).bind(STATES, 1)


def test_a_layer_without_a_rule_is_refused_by_name_and_auto_takes_bernstein():
    b = GraphBuilder()
    graph = b.build(b.add("softmax", [b.add("dense", [b.add("input", attrs={"shape": (1,)})], arrays={"weight": np.ones((1, 1))})], {"axis": 0}))
    loop = reach.ClosedLoop(reach.ContinuousSystem(["x"], ["u"], ["u"]), graph, 0.5)
    with pytest.raises(UnsupportedLayerError, match="softmax"):
        reach.solve(loop, reach.Box([0.0], [1.0]), 0.5, controller=reach.Layerwise())


@pytest.mark.parametrize("degree", [0, 9, 2.5, True, "3"])
def test_degrees_out_of_range_are_refused(degree):
    with pytest.raises(InputError, match="degree"):
        Layerwise(degree)


def test_the_check_catches_a_walker_that_forgets_errors(monkeypatch):
    """Mutants: deviations dropped, the fit's error dropped, the symbols of two branches confused."""
    sets = [random_set(seed, scale, symbols=symbols, variables=variables) for seed in range(3) for scale in (0.4, 2.0) for symbols, variables in ((0, 2), (3, 0))]
    graphs = [network([3, 12, 2], "relu", seed, gain=2.0) for seed in range(2)]
    real = layerwise.activated
    for mutant in (
        lambda Q, e, A, N, v, e0, shared, lo, hi: real(Q, 0 * e, A, N, v, e0, shared, lo, hi),
        lambda Q, e, A, N, v, e0, shared, lo, hi: real(Q, e, A, N, v, e0, shared, hi, hi),
        lambda Q, e, A, N, v, e0, shared, lo, hi: real(Q, e, A, N, 0 * v, e0, 0 * shared, lo, hi),
    ):
        with monkeypatch.context() as m:
            m.setattr(layerwise, "activated", mutant)
            assert any(excess(graph, state, count=500) > 1 for graph in graphs for state in sets)
    with monkeypatch.context() as m:
        m.setattr(layerwise, "_named", lambda z, symbols: (layerwise.Value(z.P, z.A, np.hstack([z.N, np.diag(z.v)]), np.zeros(len(z.v))), 0))
        assert any(excess(cancelling(), random_set(seed)) > 1 for seed in range(3))


def cancelling():
    """u = f(x) - g(x) with two independent fits of one size: their errors must add, although the numbers of their symbols are alike."""
    rng = np.random.default_rng(0)
    b = GraphBuilder()
    x = b.add("activation", [b.add("dense", [b.add("input", attrs={"shape": (3,)})], arrays={"weight": np.eye(3)})], {"kind": "tanh"})
    one = b.add("activation", [b.add("dense", [x], arrays={"weight": 6 * rng.standard_normal((1, 3))})], {"kind": "relu"})
    two = b.add("activation", [b.add("dense", [x], arrays={"weight": 6 * rng.standard_normal((1, 3))})], {"kind": "relu"})
    ends = [b.add("dense", [h], arrays={"weight": np.ones((1, 1))}) for h in (one, two)]
    return b.build(b.add("sub", ends))
