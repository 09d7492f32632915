"""The value of a graph: against exact arithmetic with the rounding counts of the docstrings, against torch, chunked, observed, and on bad input."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies.models import build
from strategies.networks import NODES, random_graph, sample_inputs, single_node
from truth.exact import exact_tensors

from certify.core.errors import InputError
from certify.core.evaluate import cache_chunk, evaluate
from certify.core.evaluate_base import OPERATORS
from certify.core.graph import VOCABULARY, Graph, GraphBuilder, Node
from certify.core.rounding import gamma
from certify.core.trace import trace

EXACT_OPS = ("maximum", "minimum", "group_sort", "concat", "slice", "gather", "reshape", "transpose", "expand", "pad", "max_pool", "upsample")
seeds = st.integers(0, 2**32 - 1)
half = settings(max_examples=max(1, settings.default.max_examples // 2))


def test_every_operator_has_a_value():
    assert set(OPERATORS) == VOCABULARY - {"input", "constant"}


@pytest.mark.parametrize("op", EXACT_OPS)
@half
@given(seeds)
def test_operators_that_move_entries_are_exact(op, seed):
    rng = np.random.default_rng(seed)
    graph = single_node(rng, op)
    x = sample_inputs(rng, graph, 2)
    for row, value in zip(x, graph(x)):
        exact = exact_tensors(graph, row)[graph.output]
        assert all(float(e) == v for e, v in zip(exact.ravel(), value.ravel()))


def absolute(graph: Graph) -> Graph:
    """The graph with every weight replaced by its size: its value at |x| is the sum of the sizes of the terms."""
    nodes = []
    for node in graph.nodes:
        op = "add" if node.op == "sub" else node.op
        arrays = {k: np.abs(a) if k != "index" else a for k, a in node.arrays.items()}
        nodes.append(Node(node.name, op, node.inputs, node.shape, node.attrs, arrays))
    return Graph(tuple(nodes), graph.output)


def rounding_count(node: Node) -> int:
    """n of the operator's docstring: an entry meets at most n roundings per term."""
    if node.op in ("dense", "conv", "conv_transpose"):
        shape = node.arrays["weight"].shape
        terms = shape[1] if node.op == "dense" else math.prod(shape[1:]) if node.op == "conv" else shape[0] // node.attrs["groups"] * math.prod(shape[2:])
        return terms + ("bias" in node.arrays)
    if node.op == "avg_pool":
        return math.prod(node.attrs["kernel"])
    return 1


@pytest.mark.parametrize("scale", [1.0, 1e-150, 1e100])
@pytest.mark.parametrize("op", ["dense", "conv", "conv_transpose", "avg_pool", "scale", "divide", "add", "sub"])
@half
@given(seeds)
def test_rounding_counts(op, scale, seed):
    """|fl - exact| <= gamma_n sum |terms| + n eta, entry by entry, in 60 digits."""
    rng = np.random.default_rng(seed)
    graph = single_node(rng, op, scale)
    n = rounding_count(graph[graph.output])
    x = sample_inputs(rng, graph, 1)
    value = graph(x)[0].ravel()
    exact = exact_tensors(graph, x[0])[graph.output].ravel()
    sizes = exact_tensors(absolute(graph), np.abs(x[0]))[graph.output].ravel()
    for v, e, s in zip(value, exact, sizes):
        assert abs(e - float(v)) <= gamma(n) * s + n * 2.0**-1073


@half
@given(seeds)
def test_batch_norm_meets_six_roundings(seed):
    rng = np.random.default_rng(seed)
    graph = single_node(rng, "batch_norm")
    node = graph[graph.output]
    spread = (-1, *(1,) * (len(node.shape) - 1))
    x = sample_inputs(rng, graph, 1)
    value, exact = graph(x)[0], exact_tensors(graph, x[0])[graph.output]
    slope = np.abs(node.float64("weight") if "weight" in node.arrays else 1.0) / np.sqrt(node.float64("var") + node.attrs["eps"])
    size = slope.reshape(spread) * (np.abs(x[0].reshape(node.shape)) + np.abs(node.float64("mean")).reshape(spread))
    size = size + (np.abs(node.float64("bias")).reshape(spread) if "bias" in node.arrays else 0.0)
    for v, e, s in zip(value.ravel(), exact.ravel(), np.broadcast_to(size, node.shape).ravel()):
        assert abs(e - float(v)) <= gamma(6) * (1 + 1e-14) * s + 1e-300


@pytest.mark.parametrize("op", ["softmax", "log_softmax", "logsumexp"])
def test_softmax_is_stable(op):
    b = GraphBuilder()
    x = b.add("input", attrs={"shape": (3,)})
    graph = b.build(b.add(op, [x], {"axis": 0}))
    value = graph([[1000.0, 999.0, -1000.0], [-1e300, -1e300, -1e300], [1e300, 0.0, -1e300]])
    assert np.isfinite(value).all()
    if op == "logsumexp":
        assert value[0] == pytest.approx(1000 + math.log1p(math.exp(-1)), rel=1e-15)


@settings(max_examples=settings.default.max_examples * 3)
@given(seeds)
def test_random_networks_agree_with_torch(seed):
    rng = np.random.default_rng(seed)
    graph = random_graph(rng)
    x = sample_inputs(rng, graph, 3)
    with torch.no_grad():
        expected = graph.to_torch().double()(torch.from_numpy(x)).numpy()
    assert np.abs(graph(x) - expected).max(initial=0.0) <= 1e-9 * (1.0 + np.abs(expected).max(initial=0.0))


def conv_graph(shape, weight, **attrs) -> Graph:
    n = len(shape) - 1
    settings_ = {"stride": (1,) * n, "padding": ((0, 0),) * n, "dilation": (1,) * n, "groups": 1, "mode": "zeros", **attrs}
    b = GraphBuilder()
    return b.build(b.add("conv", [b.add("input", attrs={"shape": shape})], settings_, {"weight": weight, "bias": np.arange(len(weight), dtype=float)}))


@pytest.mark.parametrize(
    "shape, kernel, attrs",
    [
        ((2, 700), (3, 2, 5), {"stride": (2,), "padding": ((3, 1),)}),
        ((3, 150, 140), (4, 3, 3, 3), {"padding": ((1, 1), (1, 1))}),
        ((64, 20, 20), (8, 64, 5, 5), {"padding": ((2, 2), (0, 4)), "mode": "circular"}),
        ((8, 60, 60), (8, 1, 3, 3), {"groups": 8, "dilation": (4, 2)}),
        ((4, 12, 30, 30), (2, 2, 2, 3, 3), {"groups": 2, "stride": (1, 2, 3), "mode": "reflect", "padding": ((1, 0), (2, 2), (0, 1))}),
    ],
)
def test_convolutions_larger_than_a_tile(shape, kernel, attrs):
    """Sizes at which samples or rows are cut into tiles: the value is the same whichever way it is cut."""
    rng = np.random.default_rng(0)
    graph = conv_graph(shape, rng.standard_normal(kernel), **attrs)
    x = rng.standard_normal((5, *shape))
    with torch.no_grad():
        expected = graph.to_torch().double()(torch.from_numpy(x)).numpy()
    for chunk in (None, 1, 3, 5):
        assert np.abs(evaluate(graph, x, chunk=chunk) - expected).max() <= 1e-11 * np.abs(expected).max()


def test_chunks_and_observers():
    graph = trace(build("resnet"), (3, 8, 8))
    x = np.random.default_rng(0).standard_normal((7, 3, 8, 8))
    whole = graph(x)
    seen: list[tuple[str, int]] = []
    values: dict[str, list] = {}

    def observe(node, value):
        seen.append((node.name, len(value)))
        assert value.shape == (len(value), *node.shape)
        values.setdefault(node.name, []).append(np.array(value))

    assert np.allclose(evaluate(graph, x, observe), whole, rtol=1e-12, atol=1e-12)
    assert seen == [(node.name, 7) for node in graph.nodes]
    seen.clear()
    values.clear()
    assert np.allclose(evaluate(graph, x, observe, chunk=3), whole, rtol=1e-12, atol=1e-12)
    assert [n for _, n in seen] == [3] * len(graph.nodes) + [3] * len(graph.nodes) + [1] * len(graph.nodes)
    assert np.allclose(np.concatenate(values[graph.output]), whole, rtol=1e-12, atol=1e-12)
    assert cache_chunk(graph) >= 16


def test_empty_batches_and_integers():
    graph = trace(build("cnn"), (1, 12, 12))
    assert graph(np.zeros((0, 1, 12, 12))).shape == (0, 10)
    pixels = np.random.default_rng(0).integers(0, 255, (2, 1, 12, 12), dtype=np.uint8)
    assert np.array_equal(graph(pixels), graph(pixels.astype(np.float64)))
    assert graph(pixels).dtype == np.float64


def test_the_result_is_the_callers_own():
    b = GraphBuilder()
    x = b.add("input", attrs={"shape": (2, 2)})
    batch = np.ones((3, 2, 2))
    for output in (x, b.add("reshape", [x], {"shape": (4,)}), b.add("transpose", [x], {"perm": (1, 0)})):
        value = b.build(output)(batch)
        value[...] = 7.0
        assert (batch == 1.0).all()


def test_inputs_and_weights_are_not_changed():
    graph = trace(build("vgg"), (3, 16, 16))
    x = np.random.default_rng(0).standard_normal((2, 3, 16, 16))
    x.setflags(write=False)
    before = graph.digest
    evaluate(graph, x)
    assert Graph(graph.nodes, graph.output).digest == before


BAD = {
    "no batch axis": np.zeros((3,)),
    "wrong shape": np.zeros((2, 4)),
    "scalar": 1.0,
    "nan": np.array([[0.0, math.nan, 0.0]]),
    "infinite": np.array([[0.0, math.inf, 0.0]]),
    "complex": np.zeros((1, 3), complex),
    "text": [["a", "b", "c"]],
    "bool": np.zeros((1, 3), bool),
    "objects": np.array([[None, 1, 2]]),
    "ragged": [[1.0, 2.0], [3.0]],
    "too large an integer": np.array([[1, 2, 2**60]]),
    "extended": np.zeros((1, 3), np.longdouble),
    "nothing": None,
}


@pytest.mark.parametrize("name", BAD)
def test_bad_batches(name):
    b = GraphBuilder()
    x = b.add("input", attrs={"shape": (3,)})
    with pytest.raises(InputError) as caught:
        b.build(b.add("add", [x, x]))(BAD[name])
    assert caught.value.where and "inputs" in str(caught.value.where)


def test_a_bad_entry_is_named():
    b = GraphBuilder()
    graph = b.build(b.add("input", attrs={"shape": (2, 2)}))
    x = np.zeros((4, 2, 2))
    x[2, 0, 1] = math.nan
    with pytest.raises(InputError, match=r"inputs\[2, 0, 1\]"):
        graph(x)


@pytest.mark.parametrize("chunk", [0, -1, 1.5, "all"])
def test_bad_chunks(chunk):
    b = GraphBuilder()
    with pytest.raises(InputError, match="chunk"):
        evaluate(b.build(b.add("input", attrs={"shape": (2,)})), np.zeros((1, 2)), chunk=chunk)


VALUES = {
    "gather": ({"axis": 0}, {"index": np.array([0, 3])}),
    "gather negative": ({"axis": 0}, {"index": np.array([-1])}),
    "gather floats": ({"axis": 0}, {"index": np.array([0.0])}),
    "divide": ({}, {"value": np.array([1.0, 0.0, 2.0])}),
    "batch_norm": ({"eps": 0.0}, {"mean": np.zeros(3), "var": np.array([1.0, 0.0, 1.0])}),
    "batch_norm negative": ({"eps": 1e-5}, {"mean": np.zeros(3), "var": np.array([1.0, -1.0, 1.0])}),
}


@pytest.mark.parametrize("name", VALUES)
def test_values_outside_an_operators_domain(name):
    attrs, arrays = VALUES[name]
    b = GraphBuilder()
    graph = b.build(b.add(name.split()[0], [b.add("input", attrs={"shape": (3,)})], attrs, arrays))
    with pytest.raises(InputError):
        graph(np.zeros((1, 3)))


def test_overflow_is_visible():
    b = GraphBuilder()
    x = b.add("input", attrs={"shape": (1,)})
    graph = b.build(b.add("scale", [b.add("scale", [x], {}, {"value": np.float64(1e300)})], {}, {"value": np.float64(1e300)}))
    assert np.isinf(graph([[1.0]])).all()


def test_all_vocabulary_strategies_are_used():
    assert VOCABULARY - set(NODES) == {"input", "multiply", "matmul", "attention"}
