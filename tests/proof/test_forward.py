"""The checker's forward pass: its values are within its errors of exact arithmetic, and its convolutions are those of core.evaluate."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies.certificates import small_cnn
from strategies.layers import layers
from strategies.networks import NODES, graphs, sample_inputs, single_nodes
from truth.exact import distance, exact_tensors, zeros

from certify.constants.product import walk
from certify.core.fold import fold_affine
from certify.core.graph import Graph, GraphBuilder
from certify.proof import certificate
from certify.proof import forward as forward_module
from certify.proof.check_steps import Chain, check_steps
from certify.proof.forward import evaluate_node, forward, row_norms
from certify.proof.local import local

NORMS = ("l2", "linf", "l1")
norms = pytest.mark.parametrize("norm", NORMS)


def chain_of(graph: Graph, norm: str) -> Chain:
    """Verified constants of a graph, from the prover's steps."""
    lines = [certificate.step(s.node, s.op, s.rule, s.method, s.inputs, s.constants, s.combine, s.running, s.evidence) for s in walk(graph, norm, "fast")]
    return check_steps(fold_affine(graph).pruned(), norm, lines, [])


def excess(graph: Graph, sample: np.ndarray, norm: str) -> float:
    """Largest true error over the claimed one, over all tensors of the folded graph; the truth is the network as given."""
    folded = fold_affine(graph).pruned()
    names = [node.name for node in folded.nodes]
    values, errors = forward(folded, sample[None], norm, chain_of(graph, norm), names)
    truth, worst = exact_tensors(graph, sample), 0.0
    for name in names:
        exact = truth[name] if name in truth else truth[name.split("+")[-1].rstrip("'")]
        assert np.isfinite(values[name]).all() and np.isfinite(errors[name]).all()
        error = distance(values[name][0], exact, norm)
        worst = max(worst, 0.0 if error == 0 else float(error / errors[name][0]) if errors[name][0] > 0 else np.inf)
    return worst


@norms
@given(graph=graphs(), seed=st.integers(0, 2**32 - 1))
def test_every_tensor_is_within_its_error(norm, graph, seed):
    assert excess(graph, sample_inputs(np.random.default_rng(seed), graph, 1)[0], norm) <= 1


@pytest.mark.parametrize("op", sorted(set(NODES) - {"constant"}))
@given(data=st.data())
@settings(max_examples=max(4, settings.default.max_examples // 5))
def test_every_operator_is_within_its_error_and_bounded_by_its_constant(op, data):
    graph = data.draw(single_nodes(op))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    first, second = sample_inputs(rng, graph, 2)
    values = [evaluate_node(graph["node"], parts) for parts in (_inputs(graph, first), _inputs(graph, second))]
    for norm in NORMS:
        assert excess(graph, first, norm) <= 1
        own = local(graph["node"], graph.input_shapes(graph["node"]), norm)
        if own is not None:  # one difference quotient; the tests of the prover's rules look harder
            moved = [np.linalg.norm((a - b).ravel(), {"l2": 2, "l1": 1, "linf": np.inf}[norm]) for a, b in zip(_inputs(graph, first), _inputs(graph, second))]
            parts = [float(square) ** 0.5 * size for square, size in zip(own[0], moved)]
            most = {"sum": sum(parts), "max": max(parts), "root": float(np.hypot.reduce(parts))}[own[1]]
            assert np.linalg.norm((values[0] - values[1]).ravel(), {"l2": 2, "l1": 1, "linf": np.inf}[norm]) <= most * (1 + 1e-9) + 1e-9


def _inputs(graph: Graph, sample: np.ndarray) -> list[np.ndarray]:
    parts, start = [], 0
    for shape in graph.input_shapes(graph["node"]):
        size = int(np.prod(shape))
        parts.append(sample.reshape(-1)[start : start + size].reshape(1, *shape))
        start += size
    return parts


@given(layer=layers())
@settings(max_examples=settings.default.max_examples * 2)
def test_convolutions_agree_with_the_other_implementation(layer):
    x = np.random.default_rng(0).normal(size=(3, *layer.input_shape))
    ours, theirs = evaluate_node(layer.graph["layer"], [x]), layer.graph(x)
    assert ours.shape == theirs.shape and np.abs(ours - theirs).max() <= 1e-12 * np.abs(layer.weight).sum() * np.abs(x).max() + 1e-300


@norms
@given(seed=st.integers(0, 2**32 - 1))
def test_folded_batch_norms_with_cancelling_shifts_are_within_their_error(norm, seed):
    rng = np.random.default_rng(seed)
    b = GraphBuilder()
    x = b.add("input", attrs={"shape": (2, 3)})
    attrs = {"stride": (1,), "padding": ((1, 1),), "dilation": (1,), "groups": 1, "mode": "zeros"}
    x = b.add("conv", [x], attrs, {"weight": rng.normal(size=(2, 2, 3)), "bias": 1e3 + rng.normal(size=2)})
    arrays = {"mean": 1e3 + rng.normal(size=2), "var": 10 ** rng.uniform(-6, 0, 2), "weight": rng.normal(size=2), "bias": rng.normal(size=2)}
    graph = b.build(b.add("batch_norm", [x], {"eps": 1e-5}, arrays))
    assert excess(graph, rng.normal(size=(2, 3)), norm) <= 1


@norms
def test_an_overflow_is_never_forgotten(norm):
    """inf in the middle, hidden by a ReLU or a clipping activation at the end: the error stays inf."""
    b = GraphBuilder()
    x = b.add("input", attrs={"shape": (2,)})
    y = b.add("dense", [x], arrays={"weight": np.full((2, 2), -1e300)})
    graph = b.build(b.add("activation", [b.add("dense", [b.add("activation", [y], {"kind": "relu"})], arrays={"weight": np.eye(2)})], {"kind": "tanh"}))
    values, errors = forward(graph, np.full((1, 2), 1e10), norm, chain_of(graph, norm), [graph.output])
    assert np.isinf(errors[graph.output][0]) and np.isfinite(values[graph.output]).all()
    _, errors = forward(graph, np.full((1, 2), 1e-310), norm, chain_of(graph, norm), [graph.output])
    assert np.isfinite(errors[graph.output][0])


@norms
def test_chunks_do_not_change_a_value(norm, monkeypatch):
    rng = np.random.default_rng(0)
    graph = small_cnn(rng)
    folded, chain, x = fold_affine(graph).pruned(), chain_of(graph, norm), rng.normal(size=(7, *graph.input_shape))
    whole = forward(folded, x, norm, chain, ["fc"])
    monkeypatch.setattr(forward_module, "_CHUNK", 100)
    parts = forward(folded, x, norm, chain, ["fc"])
    assert np.abs(whole[0]["fc"] - parts[0]["fc"]).max() <= whole[1]["fc"].max() and np.allclose(whole[1]["fc"], parts[1]["fc"], rtol=1e-9)


@norms
@given(st.integers(0, 2**32 - 1))
def test_row_norms_are_upper_ends(norm, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(3, 2, 4, 3)) * 10.0 ** rng.integers(-150, 150, (3, 1, 1, 1))
    for batch in (x, np.moveaxis(x, 1, -1), x[:, :, ::2]):
        found = row_norms(batch, norm)
        for row, size in zip(batch, found):
            assert distance(row.ravel(), zeros((row.size,)), norm) <= size
    assert np.isinf(row_norms(np.array([[np.nan, 1.0]]), norm)[0])
