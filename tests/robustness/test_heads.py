"""Heads: what may be stripped, what the last affine layer is, and that stripping never changes a prediction."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies.classifiers import linear, mlp

from certify.core.errors import InputError
from certify.core.fold import fold_affine
from certify.core.graph import Graph, GraphBuilder
from certify.proof.ends import keeps_order as checker_keeps_order
from certify.robustness.heads import find_head

RNG = np.random.default_rng(0)


def ended(*nodes, size: int = 3) -> Graph:
    """A dense layer followed by (op, attrs, arrays) nodes."""
    b = GraphBuilder()
    node = b.add("dense", [b.add("input", attrs={"shape": (size,)})], arrays={"weight": RNG.standard_normal((size, size))}, name="fc")
    for i, (op, attrs, *arrays) in enumerate(nodes):
        node = b.add(op, [node], attrs, *arrays, name=f"end{i}")
    return b.build(node)


STRIPPED = [
    [("softmax", {"axis": 0})],
    [("log_softmax", {"axis": 0})],
    [("activation", {"kind": "sigmoid"})],
    [("activation", {"kind": "tanh"})],
    [("activation", {"kind": "softplus", "beta": 2.0})],
    [("activation", {"kind": "leaky_relu", "alpha": 0.1})],
    [("activation", {"kind": "elu", "alpha": 1.0})],
    [("activation", {"kind": "prelu"}, {"slope": np.full(3, 0.25)})],
    [("divide", {}, {"value": np.array(0.07)}), ("softmax", {"axis": 0})],
    [("scale", {}, {"value": np.full(3, 2.0)})],
    [("reshape", {"shape": (3, 1, 1)}), ("softmax", {"axis": 0}), ("reshape", {"shape": (3,)})],
    [("reshape", {"shape": (1, 3)}), ("transpose", {"perm": (1, 0)}), ("reshape", {"shape": (3,)})],
]


@pytest.mark.parametrize("nodes", STRIPPED, ids=lambda n: "+".join(str(x[1].get("kind", x[0])) for x in n))
def test_what_changes_no_prediction_is_stripped(nodes):
    graph = ended(*nodes)
    head = find_head(graph)
    assert head.last.node == head.logits == "fc" and head.stripped == tuple(f"end{i}" for i in reversed(range(len(nodes))))
    assert head.graph.output == "fc" and head.body.output == "input" and head.classes == 3
    node = graph[graph.output]
    for _ in nodes:  # the checker has its own list: what we strip, it accepts
        node, end = graph[node.inputs[0]], node
        assert checker_keeps_order(end, node.shape)
    x = RNG.standard_normal((50, 3))
    assert (graph(x).argmax(1) == head.graph(x).reshape(50, -1).argmax(1)).all()


KEPT = [
    [("activation", {"kind": "relu"})],
    [("activation", {"kind": "abs"})],
    [("activation", {"kind": "gelu", "approximate": "none"})],
    [("activation", {"kind": "silu"})],
    [("activation", {"kind": "hardtanh", "min": -1.0, "max": 1.0})],
    [("activation", {"kind": "leaky_relu", "alpha": -0.1})],
    [("activation", {"kind": "elu", "alpha": -1.0})],
    [("activation", {"kind": "prelu"}, {"slope": np.array([0.25, 0.5, 0.25])})],
    [("activation", {"kind": "prelu"}, {"slope": np.full(3, -0.25)})],
    [("scale", {}, {"value": np.array([1.0, 2.0, 1.0])})],
    [("scale", {}, {"value": np.array(-1.0)})],
    [("scale", {}, {"value": np.array(0.0)})],
    [("divide", {}, {"value": np.array(-2.0)})],
    [("gather", {"axis": 0}, {"index": np.array([1, 0, 2])})],
    [("slice", {"axis": 0, "start": 0, "stop": 2, "step": 1})],
]


@pytest.mark.parametrize("nodes", KEPT, ids=lambda n: "+".join(str(x[1].get("kind", x[0])) for x in n))
def test_what_may_change_a_prediction_is_kept(nodes):
    head = find_head(ended(*nodes))
    assert head.stripped == () and head.last is None and head.logits == "end0"


def test_a_softmax_over_part_of_the_output_is_kept():
    graph = ended(("reshape", {"shape": (2, 2)}), ("softmax", {"axis": 0}), ("reshape", {"shape": (4,)}), size=4)
    assert find_head(graph).stripped == ()


@pytest.mark.parametrize("shape", [(1,), (1, 1)])
def test_one_output_is_refused(shape):
    b = GraphBuilder()
    node = b.add("dense", [b.add("input", attrs={"shape": (3,)})], arrays={"weight": np.ones((1, 3))})
    with pytest.raises(InputError, match="(?s)two logits.*lipschitz"):
        find_head(b.build(b.add("reshape", [node], {"shape": shape})))


def test_an_output_that_is_no_vector_is_refused():
    with pytest.raises(InputError, match="(?s)shape \\(2, 2\\).*flatten"):
        find_head(ended(("reshape", {"shape": (2, 2)}), size=4))


def test_the_last_layer_of_a_deeper_network():
    graph = mlp(np.random.default_rng(1), (4, 5, 3), tail="softmax")
    head = find_head(graph)
    assert (head.last.node, head.last.features, head.body.output, head.stripped) == ("fc1", "act0", "act0", ("tail",))
    assert (head.last.weight == graph["fc1"].arrays["weight"]).all() and (head.last.bias == graph["fc1"].arrays["bias"]).all() and head.last.perturbation == 0


def test_a_folded_batch_norm_says_how_well_it_is_known():
    b = GraphBuilder()
    x = b.add("input", attrs={"shape": (3,)})
    y = b.add("dense", [x], arrays={"weight": RNG.standard_normal((4, 3))}, name="fc")
    z = b.add("batch_norm", [y], {"eps": 1e-5}, {"mean": RNG.standard_normal(4), "var": np.ones(4), "weight": RNG.standard_normal(4), "bias": np.ones(4)}, name="bn")
    head = find_head(fold_affine(b.build(z)))
    assert head.last.node == "fc+bn" and head.last.perturbation >= 4 * 2.0**-53 and head.last.bias_perturbation > 0


def test_no_bias_is_a_bias_of_zero():
    head = find_head(linear(np.eye(2)))
    assert head.last.bias is not None and (head.last.bias == 0).all() and head.last.features == "x"


@given(st.integers(0, 2**32), st.sampled_from(["softmax", "log_softmax", "tanh", "sigmoid", "softsign"]))
def test_predictions_survive(seed, tail):
    rng = np.random.default_rng(seed)
    graph = mlp(rng, (3, 4, 3), kind="tanh", tail=tail)
    x = rng.standard_normal((20, 3))
    assert (find_head(graph).graph(x).argmax(1) == graph(x).argmax(1)).all()
