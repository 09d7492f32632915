"""Enclosures of LayerNorm and attention over boxes: sampled values and difference quotients, unbounded boxes, and broken versions."""

from __future__ import annotations

import numpy as np
import pytest
from constants.test_local import checked, random_box, violations
from hypothesis import given, settings
from hypothesis import strategies as st

from certify.constants.local import attention as attention_rows
from certify.constants.local import enclose, enclose_points, jacobian_bound, local_constant
from certify.constants.local import normalization as norm_rows
from certify.core.graph import Graph, GraphBuilder
from certify.core.interval import Interval
from certify.core.regions import Ball, Box

seeds = st.integers(0, 2**32 - 1)


def attention_graph(rng: np.random.Generator, causal: bool, shared: bool, heads: int | None = None) -> Graph:
    """Attention of three parts of the input, or self-attention with keys that are a linear image of the tokens."""
    h, n, d = (int(rng.integers(1, k)) for k in (3, 5, 4))
    m, e = (n, d) if shared else (int(rng.integers(1, 5)), int(rng.integers(1, 4)))
    sizes = [h * n * d] if shared else [h * n * d, h * m * d, h * m * e]
    b = GraphBuilder()
    x = b.add("input", attrs={"shape": (sum(sizes),)})
    parts, start = [], 0
    for size, shape in zip(sizes, [(h, n, d), (h, m, d), (h, m, e)]):
        parts.append(b.add("reshape", [b.add("slice", [x], {"axis": 0, "start": start, "stop": start + size, "step": 1})], {"shape": shape}))
        start += size
    if shared:
        parts = [parts[0], b.add("dense", [parts[0]], arrays={"weight": rng.normal(size=(d, d))}), parts[0]]
    return b.build(b.add("attention", parts, {"scale": float(rng.choice([1.0, 0.5, 2.0, -1.0])), "causal": causal}, name="node"))


def norm_graph(rng: np.random.Generator) -> Graph:
    shape, dims = [((5,), 1), ((2, 3), 1), ((2, 3), 2), ((1,), 1), ((3, 1), 1), ((2, 2, 2), 2)][int(rng.integers(6))]
    b = GraphBuilder()
    x = b.add("input", attrs={"shape": shape})
    arrays = {key: rng.normal(size=shape[-dims:]) for key in ("weight", "bias") if rng.random() < 0.7}
    return b.build(b.add("layer_norm", [x], {"dims": dims, "eps": float(rng.choice([1e-5, 1e-2, 1.0])), "center": bool(rng.integers(2))}, arrays))


@settings(max_examples=settings.default.max_examples * 3)
@given(seed=seeds)
def test_layer_norms_stay_inside(seed):
    checked(norm_graph(np.random.default_rng(seed)), seed + 1)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("causal", [True, False])
@settings(max_examples=settings.default.max_examples * 2)
@given(seed=seeds)
def test_attention_stays_inside(causal, shared, seed):
    checked(attention_graph(np.random.default_rng(seed), causal, shared), seed + 1)


def block(rng: np.random.Generator) -> Graph:
    """A small transformer layer: norm, attention with a residual, norm, two dense layers with a residual."""
    n, d = 3, 4
    b = GraphBuilder()
    x = b.add("input", attrs={"shape": (n, d)})
    normed = b.add("layer_norm", [x], {"dims": 1, "eps": 1e-2, "center": True}, {"weight": rng.normal(size=d), "bias": rng.normal(size=d)})
    parts = [b.add("dense", [normed], arrays={"weight": rng.normal(size=(d, d)) * 0.5}) for _ in range(3)]
    heads = [b.add("transpose", [b.add("reshape", [p], {"shape": (n, 2, 2)})], {"perm": (1, 0, 2)}) for p in parts]
    mixed = b.add("transpose", [b.add("attention", heads, {"scale": 0.7, "causal": bool(rng.integers(2))})], {"perm": (1, 0, 2)})
    y = b.add("add", [x, b.add("reshape", [mixed], {"shape": (n, d)})])
    h = b.add("activation", [b.add("dense", [b.add("layer_norm", [y], {"dims": 1, "eps": 1e-2, "center": False})], arrays={"weight": rng.normal(size=(5, d))})], {"kind": "gelu"})
    return b.build(b.add("add", [y, b.add("dense", [h], arrays={"weight": rng.normal(size=(d, 5))})]))


@given(seed=seeds)
def test_blocks_stay_inside(seed):
    checked(block(np.random.default_rng(seed)), seed + 1)


def test_points_are_enclosed_tightly():
    for seed in range(10):
        rng = np.random.default_rng(seed)
        for graph in (block(rng), norm_graph(rng), attention_graph(rng, True, False)):
            x = rng.normal(size=(3, *graph.input_shape))
            low, high = enclose_points(graph, x)
            value = graph(x)
            assert (low <= value + 1e-13).all() and (value - 1e-13 <= high).all() and (high - low).max() < 1e-10


def test_a_narrow_box_has_almost_the_jacobian():
    from truth.networks import jacobians

    for seed in range(5):
        graph = block(np.random.default_rng(seed))
        x = np.random.default_rng(seed).normal(size=graph.input_shape)
        j, exact = jacobian_bound(graph, Ball(x, 1e-9)), jacobians(graph, x[None])[0]
        assert (j.lower <= exact + 1e-9).all() and (exact - 1e-9 <= j.upper).all() and (j.upper - j.lower).max() < 1e-4


@pytest.mark.parametrize("norm", ["l2", "linf", "l1"])
def test_constants_on_a_region_are_finite(norm):
    graph = block(np.random.default_rng(0))
    small, large = (local_constant(graph, Ball(np.ones(graph.input_shape), r), norm) for r in (0.01, 1.0))
    assert 0 < small < large < np.inf


def test_unbounded_boxes():
    """What holds of every real input: |n| <= sqrt(d), slopes at most 1 / sqrt(eps), weights between 0 and 1."""
    rng = np.random.default_rng(1)
    b = GraphBuilder()
    x = b.add("input", attrs={"shape": (4,)})
    graph = b.build(b.add("layer_norm", [x], {"dims": 1, "eps": 0.25, "center": True}))
    everything = Box(np.full(4, -np.inf), np.full(4, np.inf))
    value, j = enclose(graph, everything), jacobian_bound(graph, everything)
    assert value.upper.max() <= 2.0001 and j.upper.max() <= 2.0001 and j.contains(jacobian_bound(graph, Box(-np.ones(4), np.ones(4))))
    assert local_constant(graph, everything) == 2.0
    mixed = attention_graph(rng, False, False)
    assert local_constant(mixed, Box(np.full(mixed.input_shape, -np.inf), np.full(mixed.input_shape, np.inf))) == np.inf


def test_values_of_attention_lie_in_the_hull_of_what_a_query_reads():
    b = GraphBuilder()
    x = b.add("input", attrs={"shape": (3, 2)})
    graph = b.build(b.add("attention", [x, x, x], {"scale": 5.0, "causal": True}))
    low, high = np.array([[-1.0, 0], [2, 0], [-5, 0]]), np.array([[1.0, 0], [3, 0], [9, 0]])
    value = enclose(graph, Box(low, high))
    assert np.allclose(value.upper[:, 0], [1, 3, 9]) and (value.lower[:, 0] >= np.array([-1, -1, -5]) - 1e-12).all()


# -- broken versions -------------------------------------------------------------------------------------------------------------------------------
def _no_projection(original):
    return lambda n, inverse, center: original(n, inverse, False)


def _narrow_root(original):
    def broken(x, eps, center):
        n, inverse = original(x, eps, center)
        return n, Interval(inverse.lower, inverse.lower)

    return broken


def _eps_lost(original):
    return lambda x, eps, center: original(x, 4.0 * eps, center)


def _shift_forgotten(original):
    def broken(x):
        near, m = original(x)
        return near, 0.0 * m

    return broken


MUTANTS = {
    "slopes without the projection": (norm_rows, "_slope", _no_projection, norm_graph),
    "1 / s at its smallest": (norm_rows, "normalised", _narrow_root, norm_graph),
    "another eps": (norm_rows, "normalised", _eps_lost, norm_graph),
    "the middle of the values forgotten": (attention_rows, "around", _shift_forgotten, lambda rng: attention_graph(rng, False, False)),
    "a mask forgotten": (attention_rows, "weights", lambda f: lambda op, q, k: f(_plain(op), q, k), lambda rng: attention_graph(rng, True, True)),
    "only half of the product rule": (attention_rows, "added", lambda f: lambda a, b: a, lambda rng: attention_graph(rng, False, True)),
}


class _plain:
    """The operand without its mask."""

    def __init__(self, op):
        self.attrs, self.shape = {**op.attrs, "causal": False}, op.shape


@pytest.mark.parametrize("name", MUTANTS)
def test_a_broken_rule_is_caught(name, monkeypatch):
    module, attribute, breaks, make = MUTANTS[name]
    monkeypatch.setattr(module, attribute, breaks(getattr(module, attribute)))
    for seed in range(60):
        rng = np.random.default_rng(seed)
        graph = make(rng)
        if violations(graph, random_box(rng, graph.input_shape), rng):
            return
    raise AssertionError("not caught")
