"""Lower ends: proved by their own pair, near the truth where the truth is known, the same for the same seed."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from strategies.networks import graphs
from truth.exact import exact_quotient_of
from truth.networks import matrix_norm

from certify.constants import ascent
from certify.constants.lower import lower_end, proved_quotients
from certify.constants.product import walk
from certify.constants.public import graph_constant
from certify.core.fold import fold_affine
from certify.core.graph import Graph, GraphBuilder

NORMS = ("l2", "linf", "l1")
norms = pytest.mark.parametrize("norm", NORMS)


def witness_of(graph: Graph, norm: str, effort: str = "fast", seed: int = 0):
    steps = walk(graph, norm, "fast")
    return lower_end(fold_affine(graph).pruned(), norm, {s.node: s.local for s in steps}, effort, seed), steps


def mlp(rng, widths, kind="relu"):
    b = GraphBuilder()
    x = b.add("input", attrs={"shape": (widths[0],)})
    for i, (n, m) in enumerate(zip(widths, widths[1:])):
        x = b.add("dense", [x], arrays={"weight": rng.normal(size=(m, n)) / np.sqrt(n), "bias": rng.normal(size=m)})
        if i < len(widths) - 2:
            x = b.add("activation", [x], {"kind": kind})
    return b.build(x)


@norms
@given(graph=graphs(length=4))
@settings(max_examples=settings.default.max_examples // 4 + 1)
def test_the_lower_end_is_an_exact_quotient_below_the_upper_end(norm, graph):
    found, steps = witness_of(graph, norm)
    assert 0 <= found.value <= (steps[-1].running if steps else 1.0)
    if found.value > 0:
        assert found.value <= exact_quotient_of(graph, found.first, found.second, norm)


@pytest.fixture(autouse=True)
def no_clock(monkeypatch):
    """The searches end by their steps, not by the clock, so that a busy machine changes nothing."""
    for effort, plan in list(ascent.PLANS.items()):
        monkeypatch.setitem(ascent.PLANS, effort, dataclasses.replace(plan, seconds=1e4))


@norms
def test_linear_maps_are_found_to_a_per_mille(norm):
    rng = np.random.default_rng(2)
    matrix = rng.normal(size=(9, 7))
    b = GraphBuilder()
    graph = b.build(b.add("dense", [b.add("input", attrs={"shape": (7,)})], arrays={"weight": matrix}))
    found, _ = witness_of(graph, norm, "balanced")
    assert 0.999 * matrix_norm(matrix, norm) <= found.value <= matrix_norm(matrix, norm) * (1 + 1e-12)


@norms
@pytest.mark.parametrize("kind", ["relu", "tanh", "gelu"])
def test_networks_of_one_hidden_layer_reach_their_best_pattern(norm, kind):
    """Truth for ReLU: the largest norm over all activation patterns bounds the constant; a good search comes near."""
    rng = np.random.default_rng(4)
    graph = mlp(rng, (4, 6, 3), kind)
    w, v = (n.float64("weight") for n in graph.nodes if n.op == "dense")
    patterns = [matrix_norm(v @ (np.array([bits >> i & 1 for i in range(6)])[:, None] * w), norm) for bits in range(64)]
    slope = {"relu": 1.0, "tanh": 1.0, "gelu": 1.1289041451852}[kind]
    found, steps = witness_of(graph, norm, "balanced")
    assert 0.6 * max(patterns) <= found.value <= steps[-1].running
    if kind != "gelu":
        assert found.value <= slope * max(patterns) * (1 + 1e-9)


def test_the_same_seed_gives_the_same_pair():
    graph = mlp(np.random.default_rng(1), (5, 8, 2))
    first, again, other = (witness_of(graph, "l2", "fast", seed)[0] for seed in (0, 0, 1))
    assert first.value == again.value and np.array_equal(first.first, again.first) and not np.array_equal(first.first, other.first)


def test_maps_that_do_not_move_and_values_that_overflow_give_zero():
    b = GraphBuilder()
    x = b.add("input", attrs={"shape": (3,)})
    assert witness_of(b.build(b.add("scale", [x], arrays={"value": np.zeros(3)})), "l2")[0].value == 0.0
    b = GraphBuilder()
    x = b.add("input", attrs={"shape": (3,)})
    y = b.add("dense", [b.add("dense", [x], arrays={"weight": np.full((3, 3), 1e200)})], arrays={"weight": np.full((3, 3), 1e200)})
    assert witness_of(b.build(y), "l2")[0].value == 0.0


@norms
def test_quotients_of_points_that_rounding_cannot_tell_apart_prove_nothing(norm):
    """1e8 + x - 1e8: at a distance of 1e-9 the float quotient is noise up to 15, the truth is 1."""
    b = GraphBuilder()
    x = b.add("input", attrs={"shape": (1,)})
    y = b.add("dense", [b.add("dense", [x], arrays={"weight": np.eye(1), "bias": np.array([1e8])})], arrays={"weight": np.eye(1), "bias": np.array([-1e8])})
    graph = b.build(y)
    locals = {s.node: s.local for s in walk(graph, norm)}
    first = np.linspace(0, 1, 300)[:, None]
    second = first + 1e-9
    assert max(proved_quotients(graph, norm, locals, first, second)) <= 1.0
    no_slack = {name: dataclasses.replace(local, relative=(0.0,), absolute=0.0) for name, local in locals.items()}
    assert max(proved_quotients(graph, norm, no_slack, first, second)) > 1.0, "the mutant without rounding terms must be seen"


def test_an_input_without_axes_has_both_ends():
    """flatten(1) of a batch of numbers is an IndexError."""
    b = GraphBuilder()
    graph = b.build(b.add("scale", [b.add("input", attrs={"shape": ()})], arrays={"value": np.float64(3.0)}))
    for norm in ("l2", "linf", "l1"):
        found = graph_constant(graph, norm)
        assert 2.999 <= found.lower <= 3.0 <= found.upper
