"""The product rule on a region: blocks of attention and LayerNorm against dense Jacobians and difference quotients, the constants of single nodes against
derivatives at the worst points, and broken versions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies.networks import random_graph
from torch import nn
from truth.networks import jacobians

from certify.constants.local import global_constant, local_constant, region_product, region_rules
from certify.constants.local.region_rules import RULES, Known
from certify.core.errors import InputError, UnsupportedLayerError
from certify.core.graph import Graph, GraphBuilder
from certify.core.regions import Ball, Box
from certify.core.trace import trace

seeds = st.integers(0, 2**32 - 1)


class Block(nn.Module):
    """Half the tokens plus attention of the (normalised) tokens."""

    def __init__(self, tokens: int, heads: int, causal: bool, norm: bool, bias: bool, eps: float):
        super().__init__()
        self.attention = nn.MultiheadAttention(2 * heads, heads, batch_first=True, bias=bias)
        self.norm = nn.LayerNorm(2 * heads, eps=eps) if norm else nn.Identity()
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(tokens) if causal else None)

    def forward(self, x):
        h = self.norm(x)
        return 0.5 * x + self.attention(h, h, h, attn_mask=self.mask)[0]


def random_block(seed: int, **fixed) -> Graph:
    rng = np.random.default_rng(seed)
    tokens, heads = int(rng.integers(1, 7)), int(rng.integers(1, 3))
    settings_ = {"causal": bool(rng.integers(2)), "norm": bool(rng.integers(2)), "bias": bool(rng.integers(2)), "eps": float(rng.choice([1e-5, 1e-2])), **fixed}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Block(tokens, heads, **settings_)
        for p in model.parameters():
            with torch.no_grad():
                p.normal_(std=float(rng.choice([0.3, 1.0])))
    return trace(model.double().eval(), (tokens, 2 * heads))


def inside(rng: np.random.Generator, region: Ball | Box, count: int) -> np.ndarray:
    """Points of the region, half of them on its border."""
    if isinstance(region, Box):
        t = rng.random((count, *region.lower.shape))
        return region.lower + np.where(rng.random(t.shape) < 0.4, np.round(t), t) * (region.upper - region.lower)
    u = rng.normal(size=(count, region.center.size))
    length = np.where(rng.random((count, 1)) < 0.5, 1.0, rng.random((count, 1)))
    return region.center + (1 - 1e-12) * region.radius * (length * u / np.linalg.norm(u, axis=1, keepdims=True)).reshape(count, *region.center.shape)


def largest_slope(graph: Graph, region: Ball | Box, rng: np.random.Generator, count: int = 6) -> float:
    x = inside(rng, region, count)
    best = max(np.linalg.norm(j, 2) for j in jacobians(graph, x))
    a, b = inside(rng, region, 40), inside(rng, region, 40)
    b[::2] = np.clip(a[::2] + 1e-3 * (b[::2] - a[::2]), *((region.lower, region.upper) if isinstance(region, Box) else (-np.inf, np.inf)))
    change, moved = (graph(a) - graph(b)).reshape(40, -1), (a - b).reshape(40, -1)
    return max(best, float((np.linalg.norm(change, axis=1) / np.maximum(np.linalg.norm(moved, axis=1), 1e-300)).max()))


def random_region(rng: np.random.Generator, shape) -> Ball | Box:
    centre, radius = rng.normal(size=shape), float(10 ** rng.uniform(-2, 0.5))
    return Ball(centre, radius) if rng.random() < 0.6 else Box(centre - radius * rng.random(shape), centre + radius * rng.random(shape))


@given(seeds)
def test_blocks_never_beat_their_constant(seed):
    rng = np.random.default_rng(seed)
    graph = random_block(seed)
    region = random_region(rng, graph.input_shape)
    bound, slope = region_product(graph, region), largest_slope(graph, region, rng)
    assert np.isfinite(bound) and slope <= bound * (1 + 1e-9)
    assert slope <= local_constant(graph, region) * (1 + 1e-9) and local_constant(graph, region) <= bound


@given(seeds)
def test_random_networks_never_beat_their_constant_and_it_is_not_above_the_global_one(seed):
    rng = np.random.default_rng(seed)
    graph = random_graph(rng)
    region = random_region(rng, graph.input_shape)
    bound = region_product(graph, region)
    assert bound <= global_constant(graph, "l2")
    with np.errstate(all="ignore"):
        a, b = inside(rng, region, 60), inside(rng, region, 60)
        change = np.linalg.norm((graph(a) - graph(b)).reshape(60, -1), axis=1)
        noise = 1e-10 * (1 + np.abs(graph(a)).max()) * max(1.0, float(np.abs(a).max()))
        assert (change <= bound * np.linalg.norm((a - b).reshape(60, -1), axis=1) * (1 + 1e-12) + noise).all()


# -- single nodes ----------------------------------------------------------------------------------------------------------------------------------
def attention_node(q, k, v, scale: float, causal: bool):
    shapes = [a.shape for a in (q, k, v)]
    b = GraphBuilder()
    parts = [b.add("input", attrs={"shape": shapes[0]})] + [b.add("constant", arrays={"value": np.zeros(s)}) for s in shapes[1:]]
    return b.build(b.add("attention", parts, {"scale": scale, "causal": causal}, name="node"))["node"]


def point(x: np.ndarray) -> Known:
    return Known(x, x, x, x, 0.0)


def derivatives(node, q, k, v) -> list[float]:
    """Spectral norms of the derivatives with respect to queries, keys and values."""

    def value(*tensors):
        q, k, v = (t[None] for t in tensors)
        return nn.functional.scaled_dot_product_attention(q, k, v, is_causal=node.attrs["causal"], scale=node.attrs["scale"]).reshape(-1)

    found = torch.autograd.functional.jacobian(value, tuple(map(torch.tensor, (q, k, v))))
    return [float(np.linalg.norm(j.reshape(len(j), -1).numpy(), 2)) for j in found]


def two_opposite_keys(n: int, scale: float):
    """Queries orthogonal to two opposite keys: weights 1/2, values apart along the keys' line; every inequality of the proof is an equality."""
    q = np.tile([0.0, 2.0], (1, n, 1))
    k = np.array([[[1.5, 0.0], [-1.5, 0.0]]])
    return q, k, k * 2.0, scale


def one_key_read_by_all(n: int, scale: float):
    """All queries attend to key 0: the derivative in the values is sqrt(n)."""
    return np.tile([30.0, 0.0], (1, n, 1)), np.array([[[1.0, 0.0], [-1.0, 0.0]]]), np.ones((1, 2, 1)), scale


def spread_queries(rng, n: int):
    h, m, d, e = (int(rng.integers(1, s)) for s in (3, 6, 4, 4))
    return [rng.normal(size=s) * 10 ** rng.uniform(-1.5, 0.5) for s in ((h, n, d), (h, m, d), (h, m, e))]


def node_violation(names=(0, 1, 2), count: int = 25) -> tuple[float, list[float]]:
    """Largest derivative over its constant, and that per input."""
    worst, rng = [0.0, 0.0, 0.0], np.random.default_rng(3)
    cases = [(*make(n, scale), False) for make in (two_opposite_keys, one_key_read_by_all) for n in (1, 2, 5) for scale in (1.0, -0.5, 3.0)]
    cases += [(*spread_queries(rng, int(rng.integers(1, 6))), float(rng.choice([0.5, 2.0])), bool(rng.integers(2))) for _ in range(count)]
    for q, k, v, scale, causal in cases:
        node = attention_node(q, k, v, scale, causal)
        for i, (constant, slope) in enumerate(zip(RULES["attention"](node, [point(q), point(k), point(v)]), derivatives(node, q, k, v))):
            worst[i] = max(worst[i], max(slope - 1e-10, 0.0) / max(constant, 1e-12))
    return max(worst[i] for i in names), worst


def test_attention_constants_hold_at_points_and_are_attained():
    most, worst = node_violation(count=60)
    assert most <= 1 + 1e-9 and all(w >= 1 - 1e-6 for w in worst)


def test_layer_norm_on_a_region_is_attained_far_from_constant_inputs():
    b = GraphBuilder()
    x = b.add("input", attrs={"shape": (2, 4)})
    node = b.build(b.add("layer_norm", [x], {"dims": 1, "eps": 1e-5, "center": True}, {"weight": np.array([1.0, 2.0, 2.0, -2.0])}, name="node"))["node"]
    tokens = np.array([[1.0, -1.0, 3.0, -3.0], [2.0, -2.0, 6.0, -6.0]])
    (constant,) = RULES["layer_norm"](node, [point(tokens)])
    assert constant == pytest.approx(2 / math.sqrt(5 + 1e-5), rel=1e-12)
    (ball,) = RULES["layer_norm"](node, [Known(tokens - 10, tokens + 10, tokens, tokens, 1.0)])  # deviation sqrt 5 - 1/2
    assert ball == pytest.approx(2 / math.sqrt((math.sqrt(5) - 0.5) ** 2 + 1e-5), rel=1e-12)
    (wide,) = RULES["layer_norm"](node, [Known(tokens - 10, tokens + 10, tokens, tokens, 9.0)])
    assert wide == pytest.approx(2 / math.sqrt(1e-5), rel=1e-12)


def test_products_of_tensors():
    b = GraphBuilder()
    x = b.add("input", attrs={"shape": (2, 2)})
    square, product = b.build(b.add("multiply", [x, x])), b.build(b.add("matmul", [x, x]))
    ball = Ball(np.zeros((2, 2)), 2.0)
    assert region_product(square, ball) == pytest.approx(4.0) and region_product(product, ball) == pytest.approx(4.0)
    assert largest_slope(product, ball, np.random.default_rng(0), 30) <= 4.0


# -- broken versions -------------------------------------------------------------------------------------------------------------------------------
def _node_mutant(change):
    def breaks(node, inputs):
        return change(node, ORIGINAL(node, inputs))

    return breaks


ORIGINAL = RULES["attention"]
NODE_MUTANTS = {
    "sqrt(N) left out of the values": lambda node, c: (c[0], c[1], 1.0),
    "sqrt(N) left out of the keys": lambda node, c: (c[0], c[1] / max(c[2], 1e-300), c[2]),
    "the scale left out": lambda node, c: (c[0] / abs(node.attrs["scale"]), c[1] / abs(node.attrs["scale"]), c[2]),
    "queries take part in no derivative": lambda node, c: (0.0, c[1], c[2]),
    "half the spread of the values": lambda node, c: (c[0] / 2, c[1], c[2]),
}


@pytest.mark.parametrize("name", NODE_MUTANTS)
def test_broken_attention_constants_are_caught(name, monkeypatch):
    monkeypatch.setitem(RULES, "attention", _node_mutant(NODE_MUTANTS[name]))
    assert node_violation(count=0)[0] > 1 + 1e-6


def test_other_broken_versions_are_caught(monkeypatch):
    """Each at the case that shows it: eps outside the root, the ball of a deeper tensor without the running constant, the centre's variance for all."""
    b = GraphBuilder()
    x = b.add("input", attrs={"shape": (2,)})
    flat = b.build(b.add("layer_norm", [x], {"dims": 1, "eps": 4.0, "center": True}))
    zero = Ball(np.zeros(2), 1e-3)
    slope = largest_slope(flat, zero, np.random.default_rng(0))
    assert slope <= region_product(flat, zero)
    with monkeypatch.context() as patch:
        patch.setitem(RULES, "layer_norm", lambda node, inputs: (1 / (1e-3 + 4.0),))
        assert slope > region_product(flat, zero)
    square = b.build(b.add("multiply", [y := b.add("scale", [x], arrays={"value": np.float64(3.0)}), y]))
    ball = Ball(np.zeros(2), 1.0)
    slope = largest_slope(square, ball, np.random.default_rng(0))
    assert 17 < slope <= region_product(square, ball)
    with monkeypatch.context() as patch:
        patch.setattr(region_rules.Known, "cut", lambda self: region_rules.Known(self.lower / 3, self.upper / 3, self.centre_lower, self.centre_upper, self.reach / 3))
        assert slope > region_product(square, ball)
    near = Ball(np.array([1.0, -1.0]), 1.0)
    slope = largest_slope(flat, near, np.random.default_rng(0), 40)
    assert slope <= region_product(flat, near)
    with monkeypatch.context() as patch:
        patch.setitem(RULES, "layer_norm", lambda node, inputs: (1 / math.sqrt(1.0 + 4.0),))
        assert slope > region_product(flat, near)


def test_regions_and_refusals():
    graph = random_block(0)
    shape = graph.input_shape
    assert region_product(graph, Box(np.full(shape, -np.inf), np.full(shape, np.inf))) == np.inf
    one = region_product(graph, Ball(np.zeros(shape), 0.0))
    assert one <= region_product(graph, Ball(np.zeros(shape), 0.1)) <= region_product(graph, Ball(np.zeros(shape), 0.1, "linf")) < np.inf
    assert region_product(graph, Ball(np.zeros(math.prod(shape)), 0.1)) == region_product(graph, Ball(np.zeros(shape), 0.1))
    with pytest.raises(InputError, match="region"):
        region_product(graph, Ball(np.zeros(3), 1.0))
    with pytest.MonkeyPatch.context() as patch:
        patch.delitem(RULES, "attention")
        with pytest.raises(UnsupportedLayerError, match="constant on a region"):
            region_product(graph, Ball(np.zeros(shape), 0.1))
