"""Folding: within the stated perturbation of the exact weights and biases, the same function, and only where it is the same function."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mp, mpf
from strategies.networks import graphs, sample_inputs

from certify.core.fold import FOLDED_WEIGHT_ROUNDINGS, fold_affine
from certify.core.graph import Graph, GraphBuilder

CONV = {"stride": (1,), "padding": ((1, 1),), "dilation": (1,)}


def pair(rng, op="conv", groups=1, scale=1.0, bias=True, shift=0.0, spread=0.0, eps=1e-5) -> Graph:
    """One layer and the batch norm that follows it."""
    b = GraphBuilder()
    x = b.add("input", attrs={"shape": (4, 5) if op != "dense" else (4,)})
    shapes = {"conv": (6, 4 // groups, 3), "conv_transpose": (4, 6 // groups, 3), "dense": (6, 4)}
    attrs = {} if op == "dense" else {**CONV, "groups": groups, **({"mode": "zeros"} if op == "conv" else {"output_padding": (0,)})}
    arrays = {"weight": rng.normal(size=shapes[op]) * scale, **({"bias": shift + rng.normal(size=6) * scale} if bias else {})}
    y = b.add(op, [x], attrs, arrays, name="layer")
    norm = {"mean": shift + rng.normal(size=6) * scale, "var": 10 ** rng.uniform(-spread, spread, 6)}
    if bias:
        norm |= {"weight": rng.normal(size=6), "bias": rng.normal(size=6)}
    return b.build(b.add("batch_norm", [y], {"eps": eps}, norm, name="norm"))


def exact_fold(graph: Graph):
    """Weights and biases of the exact composition, in 60 digits."""
    layer, norm = graph["layer"], graph["norm"]
    weight, groups = layer.float64("weight"), layer.attrs.get("groups", 1)
    ones, zeros = np.ones(6), np.zeros(6)
    gamma, beta, bias = (a if a is not None else default for a, default in ((norm.float64("weight"), ones), (norm.float64("bias"), zeros), (layer.float64("bias"), zeros)))
    with mp.workdps(60):
        factor = [mpf(float(g)) / mp.sqrt(mpf(float(v)) + mpf(float(norm.attrs["eps"]))) for g, v in zip(gamma, norm.float64("var"))]
        out = np.empty(weight.shape, dtype=object)
        for place in np.ndindex(*weight.shape):
            channel = place[0] if layer.op != "conv_transpose" else place[0] // (weight.shape[0] // groups) * weight.shape[1] + place[1]
            out[place] = mpf(float(weight[place])) * factor[channel]
        return out, [(mpf(float(b)) - mpf(float(m))) * f + mpf(float(s)) for b, m, f, s in zip(bias, norm.float64("mean"), factor, beta)]


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(["conv", "conv_transpose", "dense"]),
    st.sampled_from([1, 2]),
    st.sampled_from([1.0, 1e-30, 1e30]),
    st.booleans(),
    st.sampled_from([0.0, 1e3]),
)
def test_folded_weights_and_biases_are_within_their_perturbation(seed, op, groups, scale, bias, shift):
    graph = pair(np.random.default_rng(seed), op, groups, scale, bias, shift, spread=5.0)
    node = fold_affine(graph)["layer+norm"]
    weights, biases = exact_fold(graph)
    assert node.attrs["perturbation"] == FOLDED_WEIGHT_ROUNDINGS
    with mp.workdps(60):
        rho = mpf(node.attrs["perturbation"]) * mpf(2) ** -53
        for place in np.ndindex(*weights.shape):
            stored, exact = mpf(float(node.arrays["weight"][place])), weights[place]
            assert abs(stored - exact) <= rho * abs(stored) and abs(stored - exact) <= rho * abs(exact)
        for stored, exact in zip(node.arrays["bias"], biases):
            assert abs(mpf(float(stored)) - exact) <= mpf(node.attrs["bias_perturbation"])


def test_the_perturbation_is_of_the_right_size():
    """The worst of many entries is above a third of what is stated: the constant 5 is no guess."""
    worst = mpf(0)
    for seed in range(40):
        graph = pair(np.random.default_rng(seed), "dense", spread=3.0)
        weights, _ = exact_fold(graph)
        node = fold_affine(graph)["layer+norm"]
        with mp.workdps(60):
            worst = max(worst, *(abs(mpf(float(w)) - e) / abs(e) for w, e in zip(node.arrays["weight"].ravel(), weights.ravel())))
    assert 1.5 * 2.0**-53 < worst <= 5 * 2.0**-53


@given(graphs(), st.integers(0, 2**32 - 1))
def test_the_folded_graph_is_the_same_function(graph, seed):
    folded = fold_affine(graph)
    x = sample_inputs(np.random.default_rng(seed), graph, 3)
    a, b = graph(x), folded(x)
    assert a.shape == b.shape and np.abs(a - b).max(initial=0.0) <= 1e-9 * (1 + np.abs(a).max(initial=0.0)) * (1 + np.abs(x).max())
    assert fold_affine(folded) is folded or [n.name for n in fold_affine(folded).nodes] == [n.name for n in folded.nodes]


def names(graph: Graph) -> list[str]:
    return [node.name for node in graph.nodes]


def test_a_layer_with_another_consumer_or_that_is_the_output_is_not_folded():
    rng = np.random.default_rng(0)
    nodes = pair(rng).nodes
    b = GraphBuilder()
    for node in nodes:
        b.add(node.op, node.inputs, dict(node.attrs), dict(node.arrays), name=node.name)
    graph = b.build(b.add("add", ["layer", "norm"]))
    assert fold_affine(graph) is graph
    unused = Graph(nodes, "layer")  # the batch norm is there, but the output is the layer itself
    assert fold_affine(unused) is unused
    twice = GraphBuilder()
    for node in nodes:
        twice.add(node.op, node.inputs, dict(node.attrs), dict(node.arrays), name=node.name)
    second = twice.add("batch_norm", ["layer"], {"eps": 1e-5}, dict(nodes[-1].arrays))
    graph = twice.build(twice.add("add", ["norm", second]))
    assert fold_affine(graph) is graph


def test_a_dense_layer_on_rows_is_not_folded():
    """Its channels are the last axis, those of the batch norm the first."""
    b = GraphBuilder()
    y = b.add("dense", [b.add("input", attrs={"shape": (3, 4)})], arrays={"weight": np.ones((3, 4))})
    graph = b.build(b.add("batch_norm", [y], {"eps": 0.1}, {"mean": np.zeros(3), "var": np.ones(3)}))
    assert fold_affine(graph) is graph


@pytest.mark.parametrize(
    ("weight", "gamma", "variance"),
    [(1e-300, 1e-20, 1.0), (1e300, 1e20, 1.0), (1.0, 1e-320, 1.0), (5e-324, 0.5, 1.0), (1.0, 1e-200, 1e300), (1.0, 1.0, 0.0)],
)
def test_products_out_of_range_are_not_folded(weight, gamma, variance):
    b = GraphBuilder()
    y = b.add("dense", [b.add("input", attrs={"shape": (2,)})], arrays={"weight": np.array([[weight, 1.0], [1.0, 1.0]])}, name="layer")
    graph = b.build(b.add("batch_norm", [y], {"eps": 0.0}, {"mean": np.zeros(2), "var": np.array([variance, 1.0]), "weight": np.array([gamma, 1.0])}, name="norm"))
    assert fold_affine(graph) is graph


def test_zero_weights_and_zero_gains_fold_exactly():
    b = GraphBuilder()
    y = b.add("dense", [b.add("input", attrs={"shape": (2,)})], arrays={"weight": np.array([[0.0, 3.0], [1.0, 2.0]])}, name="layer")
    norm = {"mean": np.ones(2), "var": np.array([3.0, 7.0]), "weight": np.array([2.0, 0.0])}
    node = fold_affine(b.build(b.add("batch_norm", [y], {"eps": 0.5}, norm, name="norm")))["layer+norm"]
    assert node.arrays["weight"][0, 0] == 0 and (node.arrays["weight"][1] == 0).all()


def test_chains_are_folded_once_and_names_stay_unique():
    b = GraphBuilder()
    norm = {"mean": np.zeros(2), "var": np.ones(2)}
    x = b.add("input", attrs={"shape": (2,)}, name="x")
    other = b.add("activation", [x], {"kind": "relu"}, name="layer+norm")
    y = b.add("dense", [other], arrays={"weight": np.eye(2)}, name="layer")
    y = b.add("batch_norm", [b.add("batch_norm", [y], {"eps": 0.0}, norm, name="norm")], {"eps": 0.0}, norm, name="second")
    folded = fold_affine(b.build(y))
    assert names(folded) == ["x", "layer+norm", "layer+norm'", "second"] and folded.output == "second"
    assert fold_affine(folded) is folded  # a perturbed layer is not folded again
    assert Fraction(float(folded["layer+norm'"].arrays["weight"][0, 0])) == 1
